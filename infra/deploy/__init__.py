"""What containers are built from, and the secrets they are given."""
