"""A city that does not exist: its catalogue, institutions, insured persons and one morning, all from one seed."""
