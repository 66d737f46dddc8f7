"""Clearing (清算): periods, what is owed of each, what is withheld and deducted, and its payment."""
