"""The rules: frozen values and pure functions. No IO, no clock, no framework."""
