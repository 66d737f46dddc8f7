"""The front desk (应急前台, section 4.3): a page for institutions without an interface. It uses the API only."""
