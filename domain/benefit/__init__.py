"""The benefit (医疗待遇): one function from local totals, person and policy to who pays what."""

from __future__ import annotations

from domain.benefit.settling import IdentityBroken, NegativeTotals, accumulator_keys, settle

__all__ = ["IdentityBroken", "NegativeTotals", "accumulator_keys", "settle"]
