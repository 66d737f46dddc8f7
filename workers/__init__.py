"""The front-end server: check, match, total, keep, forward, hand back, upload detail."""
