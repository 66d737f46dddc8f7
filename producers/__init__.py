"""The hospital side: how a claim gets in and how its result gets back."""
