"""Takes each guard of a promise away, in a copy of the tree, and sees that a test notices."""
