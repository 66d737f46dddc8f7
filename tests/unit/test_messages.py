"""The shape of the messages: kinds and versions of their own, and rows that can grow at their end only."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from domain import messages
from domain.messages import Message
from domain.refusals import SENTENCE, Refusal, sentence

KINDS = get_args(Message)
EVERYTHING = [kind for kind in vars(messages).values() if isinstance(kind, type)]
ROWS = [kind for kind in EVERYTHING if issubclass(kind, tuple)]


def test_every_message_has_a_kind_and_version_of_its_own_and_none_is_left_out():
    assert set(KINDS) == {kind for kind in EVERYTHING if is_dataclass(kind)}
    assert len({(kind.KIND, kind.VERSION) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_a_frozen_fact(kind):
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
    assert all(field.kw_only for field in fields(kind))


@pytest.mark.parametrize("row", ROWS)
def test_fields_with_a_default_come_last(row):
    defaults = list(row._field_defaults)
    assert list(row._fields[len(row._fields) - len(defaults) :]) == defaults


def test_amounts_between_sites_are_named_in_fen():
    for row in ROWS:
        for name, kind in row.__annotations__.items():
            assert "float" not in str(kind)
            assert not name.endswith(("_amount", "_pay", "_yuan"))


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_its_sentence(refusal):
    assert sentence(refusal, "1.00", "2.00")
    assert ("1.00" in sentence(refusal, "1.00", "2.00")) == ("{sent}" in SENTENCE[refusal])
