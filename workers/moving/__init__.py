"""Institutions that move to or from this front-end (docs/moving.md): what travels, and which doors are open."""
