"""Outcomes at the front-end: claims in two phases, decisions of their institutions, and what is not known yet."""
