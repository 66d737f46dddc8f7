"""The words of outcomes: where an outcome and a phase may go, and that every refusal has its sentence."""

from __future__ import annotations

from domain.outcomes import EDGES, PHASES, REFUSED_AFTER, OutcomeState, Phase
from domain.refusals import HOLDS, SENTENCE, Refusal, refusal_words


def test_only_what_is_prepared_goes_anywhere_and_from_there_nothing_leads_on():
    assert set(EDGES) == {OutcomeState.PREPARED}
    assert not set(EDGES[OutcomeState.PREPARED]) & set(EDGES)


def test_what_ended_without_a_settlement_says_why_to_whoever_comes_late():
    assert set(REFUSED_AFTER) == EDGES[OutcomeState.PREPARED] - {OutcomeState.CONFIRMED}


def test_an_institution_decides_once_and_confirms_only_what_is_prepared():
    assert set(PHASES) == set(Phase)
    assert [phase for phase, following in PHASES.items() if Phase.CONFIRM in following] == [Phase.PREPARE]
    assert all(not PHASES[following] for following in {one for each in PHASES.values() for one in each})


def test_every_refusal_has_its_sentence_and_those_that_hold_up_ask_for_nothing():
    assert set(SENTENCE) == set(Refusal)
    assert not any("请重新提交" in refusal_words(str(code), "") for code in HOLDS)
    assert "重新提交" in refusal_words("prepare-expired", "")
