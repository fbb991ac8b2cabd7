"""With whom does a renewal lie, and by what did it come there?

It lies with the doctors of its department, or with the pharmacists: the *pool*. One of them
claims it, or is handed it, and decides alone until that lapses; so nothing lies with somebody
who has gone home. None of this is a status: the table and the history know nothing of it, and
the next stage begins in the pool again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from libs.common.events import Sensitive
from services.prescriptions.domain.facts import Value


class Assigned(StrEnum):
    CLAIM = "claim"
    RELEASE = "release"  # given back to the pool
    HAND_OVER = "hand_over"
    REMIND = "remind"
    ESCALATE = "escalate"


class Assignment(Value):
    """One entry: who did what, and who has it or was told of it since."""

    at: datetime
    what: Assigned
    by: str | None = None  # absent: a deadline
    to: tuple[str, ...] = ()
    reason: str | None = None
    comment: Sensitive[str | None] = None
