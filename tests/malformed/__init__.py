"""Malformed documents and messages: each refused with a code, nothing written, nobody beside them disturbed."""
