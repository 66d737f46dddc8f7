"""Settling: the counter a batch stands at, its transaction, and taking a settlement back."""
