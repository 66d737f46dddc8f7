"""Where the detail of a settled claim stands (`claim.detail_state`)."""

DETAIL_DUE, DETAIL_AT_CENTER, DETAIL_MISMATCH = 0, 1, 2
