"""A whole city on one machine: the command line, the sample morning, the audit of its promises."""
