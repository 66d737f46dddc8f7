"""Outcomes (交易结果): claims settled in two phases, what holds a person meanwhile, and what became of any claim."""
