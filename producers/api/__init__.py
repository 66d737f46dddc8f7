"""The HTTP API: how a hospital's own program hands in claims and asks what became of them."""
