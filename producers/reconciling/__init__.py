"""Reconciliation files of institutions: TAB-separated text in a ZIP, as 3202, 9101 and 9102 have it."""
