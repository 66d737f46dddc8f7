"""Registered visits at the front-end: the one layer every door uses (WF-03 to WF-06).

A visit is registered, its lines are imported as they come, its batches are settled, it is discharged; what its HIS is
to be told waits to be handed out. Files, shared tables, the API and the front desk call these and nothing behind them.
A claim that carries its own visit is another way in (`workers.intake`): registered and settled at once, without a row
here.
"""

from workers.visit_steps import Done, Ended, NotReady, Refunding, Registered, Settling
from workers.visits.discharge import discharge
from workers.visits.handout import HandOut, handed_out, to_hand_out
from workers.visits.imports import Delivery, FailedLine, LineVerdict, Per, failures, import_lines
from workers.visits.refused import RefusedBatch, give_up, refused, refused_of_exchange, send_again
from workers.visits.registration import cancel, register
from workers.visits.rows import VisitView, find, imported, listed, views
from workers.visits.settlement import ToSettle, Unread, reopen, settle_visit, settle_visits

__all__ = [
    "Delivery",
    "Done",
    "Ended",
    "FailedLine",
    "HandOut",
    "LineVerdict",
    "NotReady",
    "Per",
    "Refunding",
    "RefusedBatch",
    "Registered",
    "Settling",
    "ToSettle",
    "Unread",
    "VisitView",
    "cancel",
    "discharge",
    "failures",
    "find",
    "give_up",
    "handed_out",
    "import_lines",
    "imported",
    "listed",
    "refused",
    "refused_of_exchange",
    "register",
    "reopen",
    "send_again",
    "settle_visit",
    "settle_visits",
    "to_hand_out",
    "views",
]
