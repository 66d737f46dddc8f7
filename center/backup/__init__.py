"""Backup, restore, and the epoch: how a centre restored from a backup comes by what it has lost."""
