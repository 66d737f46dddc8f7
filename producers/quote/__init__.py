"""Quotes (预结算): what a claim would settle to. The functions are those of the real thing; nothing is booked.

A quote is asked for in one JSON document (`document`): the person, the visit, what the year has used up so far, and
either the charge lines or the totals of the claim. `settling` settles it, `answer` shows it, `words` tells it in
Chinese, `book` finds the policy.
"""

from __future__ import annotations

from producers.quote.answer import QuoteOut, seen
from producers.quote.book import policy_book
from producers.quote.document import QUOTE_IN, QuoteIn, schema
from producers.quote.settling import CannotQuote, Quoted, quote, quoted

__all__ = [
    "QUOTE_IN", "CannotQuote", "QuoteIn", "QuoteOut", "Quoted", "policy_book", "quote", "quoted", "schema", "seen",
]  # fmt: skip
