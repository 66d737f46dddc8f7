"""What may be proposed about a difference: a contra settlement, a note, or an order to the front-end.

Nothing is changed where it stands. A contra settlement goes through the same refund, and the same rules, as one that a
front-end asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, exists, select

from center.approving.actions import Action, CannotDo, Payload
from center.approving.proposals import propose
from center.ledger.documents import Document, post
from center.reconciling import differences, orders
from center.reconciling.differences import Found
from center.reconciling.tables import EXPLAINED, ORDERED, PROPOSED, REPAIRED
from center.settling import records
from center.settling.refund import refund_within
from center.tables import reference, settlement
from domain.day_books import Figures
from domain.messages import ClaimAnswer, RefundAsked
from domain.reconciliation import Class
from domain.refusals import refusal_words
from domain.repairs import CLASS_WORDS, REPAIR_WORDS, Repair, chosen, effect_in_words
from domain.visit import LAST_BATCH
from infra.codec import unpack
from infra.reference import ReferenceShelf


class _Done(NamedTuple):
    """What became of a difference."""

    state: str
    words: str
    document_no: int | None = None


class _Signed(NamedTuple):
    """Who proposed it, who approved it, and when."""

    by: str
    approved_by: str
    at: datetime


Work = Callable[[Connection, Found, Repair, _Signed], _Done]

BY_CONTRA = (Repair.CONTRA, Repair.QUERY_THEN_CONTRA)
BY_ORDER = (
    Repair.RESEND_ANSWER,
    Repair.SEND_CONTRA,
    Repair.REVERSE_AT_INSTITUTION,
    Repair.RESUBMIT,
    Repair.UPLOAD_AGAIN,
)
OF_COMPARISON = (Repair.NOTE, Repair.RESEND_ANSWER, Repair.REVERSE_AT_INSTITUTION, Repair.CONTRA)
"""What a person may decide on after comparing two amounts line by line."""


def propose_repair(
    connection: Connection, difference_no: int, *, by: str, reason: str, at: datetime, repair: Repair | None = None
) -> int:
    """Propose the repair of a difference, or the one a person chose after comparing; the number of the proposal.

    Raises CannotDo, CannotPropose, AlreadyProposed.
    """
    found = _open(connection, difference_no)
    chosen = repair or Repair(found.repair)
    name = _action_of(chosen)
    payload = {"difference_no": difference_no, "repair": str(chosen)}
    effect = ACTIONS[name].predict(connection, payload, at=at)
    number = propose(
        connection, name, payload, by=by, reason=reason, institution_code=found.institution_code, effect=effect, at=at
    )
    differences.settle(connection, difference_no, PROPOSED, at=at, proposal_no=number)
    return number


def _action_of(repair: Repair) -> str:
    if repair in BY_CONTRA:
        return "repair.contra"
    if repair in BY_ORDER:
        return "repair.order"
    if repair is Repair.NOTE:
        return "repair.note"
    raise CannotDo(f"{REPAIR_WORDS[repair]}：须由经办人比对后选定处理方式（--repair）")


def _predicts(allowed: tuple[Repair, ...]) -> Callable[..., str]:
    def predict(connection: Connection, payload: Payload, *, at: datetime) -> str:
        found, repair = _of(connection, payload, allowed)
        words = f"{found.day} {CLASS_WORDS[Class(found.kind)]}：{found.words}。{REPAIR_WORDS[repair]}。"
        if repair in BY_CONTRA:
            original = _original(connection, found)
            return f"{words}对结算 {original.settlement_no} 开反向结算；{_effect(found, repair)}"
        return f"{words}{_effect(found, repair)}"

    return predict


def _effect(found: Found, repair: Repair) -> str:
    """What the repair would do to both books; of one that was chosen after comparing, it is that one's."""
    if repair == found.repair:
        return found.effect
    return effect_in_words(chosen(repair, Figures(*found.institution_figures), Figures(*found.center_figures)))


def _executes(allowed: tuple[Repair, ...], work: Work) -> Callable[..., str]:
    def execute(
        connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
    ) -> str:
        found, repair = _of(connection, payload, allowed)
        done = work(connection, found, repair, _Signed(by, approved_by, at))
        values = {"document_no": done.document_no} if done.document_no is not None else {}
        differences.settle(
            connection, found.difference_no, done.state, at=at, proposal_no=proposal_no, outcome=done.words, **values
        )
        return done.words

    return execute


def _of(connection: Connection, payload: Payload, allowed: tuple[Repair, ...]) -> tuple[Found, Repair]:
    """The difference and its repair, if that is still what is to be done about it. Raises CannotDo."""
    found = _open(connection, int(payload["difference_no"]))
    repair = Repair(payload["repair"])
    own = Repair(found.repair)
    if repair not in allowed or (repair is not own and not (own is Repair.COMPARE and repair in OF_COMPARISON)):
        raise CannotDo(f"差异 {found.difference_no} 的处理方式是：{REPAIR_WORDS[own]}")
    return found, repair


def _open(connection: Connection, difference_no: int) -> Found:
    found = differences.find(connection, difference_no, lock=True)
    if found is None:
        raise CannotDo(f"没有差异 {difference_no}")
    if not found.is_open or found.state == ORDERED:
        raise CannotDo(f"差异 {difference_no} 已处理：{found.outcome or found.state}")
    return found


# ── Contra ────────────────────────────────────────────────────────────────────────────────────────────────


class _Original(NamedTuple):
    """What a contra is to take back."""

    settlement_no: int
    visit_no: str
    charge_batch_no: int


_OF = settlement.alias("of")
_CONTRA = settlement.alias("contra")
_STANDING = select(_OF.c.settlement_no, _OF.c.visit_no, _OF.c.charge_batch_no).where(
    _OF.c.kind == "normal", ~exists().where(_CONTRA.c.contra_of == _OF.c.settlement_no)
)


def _original(connection: Connection, found: Found) -> _Original:
    """The settlement a contra is to take back. Raises CannotDo."""
    query = _STANDING.where(_OF.c.institution_code == found.institution_code, _OF.c.visit_no == found.visit_no)
    if found.kind == Class.ONE_SIDED_REFUND:
        query = query.where(_OF.c.total_fen == -found.institution_figures[1])
    else:
        query = query.where(_OF.c.settlement_no == found.settlement_no)
    if found.repair == Repair.QUERY_THEN_CONTRA:
        unknown, words = orders.answered_query(connection, found.difference_no)
        if unknown is not True:
            raise CannotDo(f"前置机答复：{words}" if unknown is False else "已向机构查询，尚未答复")
    rows = connection.execute(query).all()
    if len(rows) != 1:
        raise CannotDo("中心没有可冲销的结算" if not rows else "可冲销的结算不止一笔，请指明后由机构申请退费")
    return _Original(*rows[0])


def _contra(connection: Connection, found: Found, repair: Repair, signed: _Signed) -> _Done:
    """Take the settlement back, and tell its front-end."""
    original = _original(connection, found)
    frontend = orders.keeper_of(connection, found)
    asked = RefundAsked(
        institution_code=found.institution_code,
        visit_no=original.visit_no,
        charge_batch_no=original.charge_batch_no,
        contra_batch_no=_batch_of_contra(original.charge_batch_no),
        reason=f"对账差异 {found.difference_no}：{CLASS_WORDS[Class(found.kind)]}",
        policy_version="",
        catalogue_version="",
    )
    now = _SHELF.current(connection, records.versions_in_force(records.cursor_of(connection)))
    answered = refund_within(connection, now, asked, frontend=frontend, at=signed.at)
    if answered.refusal:
        raise CannotDo(f"反向结算未成：{refusal_words(answered.refusal, answered.detail)}")
    (answer,) = answered.answers
    orders.give(connection, found, Repair.SEND_CONTRA, at=signed.at, answer=answer, contra_of=original.charge_batch_no)
    words = f"已开反向结算 {answer.settlement_no}，冲销结算 {original.settlement_no}"
    return _Done(REPAIRED, words, answer.settlement_no)


def _batch_of_contra(charge_batch_no: int) -> int:
    """The number of a contra of the centre's own: so far from the end of its range as what it takes back from the
    beginning, so that it is the same each time and no front-end's own."""
    return LAST_BATCH + 1 - charge_batch_no


_SHELF = ReferenceShelf(reference)


# ── Orders and notes ──────────────────────────────────────────────────────────────────────────────────────


def _order(connection: Connection, found: Found, repair: Repair, signed: _Signed) -> _Done:
    """Have the front-end do it, with the stored answer where there is one."""
    answer = None
    contra_of = 0
    if repair in (Repair.RESEND_ANSWER, Repair.SEND_CONTRA):
        row = connection.execute(
            select(settlement.c.answer, settlement.c.contra_of).where(settlement.c.settlement_no == found.settlement_no)
        ).one()
        answer = unpack(row.answer, ClaimAnswer)
        if row.contra_of is not None:
            original = select(settlement.c.charge_batch_no).where(settlement.c.settlement_no == row.contra_of)
            contra_of = connection.execute(original).scalar_one()
    number = orders.give(connection, found, repair, at=signed.at, answer=answer, contra_of=contra_of)
    return _Done(ORDERED, f"已下发前置机（第 {number} 号）：{REPAIR_WORDS[repair]}")


def _note(connection: Connection, found: Found, repair: Repair, signed: _Signed) -> _Done:
    """Write a document that explains the difference; it moves nothing."""
    columns = settlement.c
    of = connection.execute(
        select(columns.scheme, columns.clearing_type).where(columns.settlement_no == found.settlement_no)
    ).first()
    document = Document(
        kind="note",
        institution_code=found.institution_code,
        scheme="" if of is None else of.scheme,
        clearing_type="" if of is None else of.clearing_type,
        day=found.day,
        made_by=signed.by,
        reason=f"{CLASS_WORDS[Class(found.kind)]}：{found.words}",
        amount_fen=0,
        approved_by=signed.approved_by,
        refers_to=found.settlement_no or None,
        content={"difference_no": found.difference_no, "class": found.kind, "difference_fen": found.difference_fen},
    )
    number = post(records.cursor_of(connection), document, [], at=signed.at)
    return _Done(EXPLAINED, f"已记说明凭证 {number}，不涉及资金", number)


ACTIONS: Mapping[str, Action] = {
    "repair.contra": Action("对账冲正", _predicts(BY_CONTRA), _executes(BY_CONTRA, _contra)),
    "repair.order": Action("对账补办", _predicts(BY_ORDER), _executes(BY_ORDER, _order)),
    "repair.note": Action("对账说明", _predicts((Repair.NOTE,)), _executes((Repair.NOTE,), _note)),
}
