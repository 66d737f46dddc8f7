"""Policy sets at the centre: published, in force, replayed."""
