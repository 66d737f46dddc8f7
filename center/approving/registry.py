"""Every action there is, by name: the packages' own `actions.py`, in one mapping."""

from __future__ import annotations

from collections.abc import Mapping

from center.approving.actions import Action
from center.clearing.actions import ACTIONS as CLEARING
from center.conservation.actions import ACTIONS as CONSERVATION
from center.correcting.actions import ACTIONS as CORRECTING
from center.outcomes.actions import ACTIONS as OUTCOMES
from center.reconciling.actions import ACTIONS as RECONCILING

ACTIONS: Mapping[str, Action] = {**CLEARING, **CONSERVATION, **CORRECTING, **OUTCOMES, **RECONCILING}
