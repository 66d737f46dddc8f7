"""Corrections (更正): the later settlements of a person that a refund out of order would have changed."""
