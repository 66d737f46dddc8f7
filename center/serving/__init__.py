"""Who serves an institution, on which terms, and how that changes while claims flow."""
