"""The catalogue at the centre: imported, matched, audited, published."""
