"""Reconciliation at the front-end: the institutions' own books on their way to the centre, and what came of them."""
