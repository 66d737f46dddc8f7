"""Policy sets (政策库): a city's dated facts, read, checked and turned into the rules of a case."""

from __future__ import annotations

from domain.policy.book import PolicyBook, TwoPoliciesInForce, scheme_of

__all__ = ["PolicyBook", "TwoPoliciesInForce", "scheme_of"]
