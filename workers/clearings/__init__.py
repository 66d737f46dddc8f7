"""Clearings of this front-end's institutions: what the centre told, and what the institutions say of it."""
