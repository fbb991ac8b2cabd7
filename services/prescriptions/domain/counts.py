"""How much waits for somebody, and how urgent is it?

Counted are at most so many of the oldest; beyond that the numbers say *at least*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, Field

from libs.common.events import RefillStage
from services.prescriptions.domain.steps import alone
from services.prescriptions.domain.transitions import Status

#: Nobody works off more in a week, and a badge has three digits.
COUNTED: Final = 1_000


class Waiting(NamedTuple):
    """What is read of a renewal to count it; the names are its fields."""

    id: str
    status: str
    stage: RefillStage
    waiting_since: datetime
    deadline: datetime | None
    holder_id: str | None
    held_until: datetime | None
    bound_to: str | None


class Counts(BaseModel):
    """What waits in one role. `more`: that much at least, of the oldest that there are."""

    waiting: int = Field(description="All that the list shows.")
    mine: int = Field(description="Of it what nobody else decides on, as `whose=mine`.")
    pool: int = Field(description="Of it what nobody has yet, as `whose=pool`.")
    returned: int = Field(description="Of it what a pharmacist has returned.")
    suspended: int = Field(description="Of it what an event of the hospital's has stopped.")
    due_soon: int = Field(description="Of it what expires within the hours of a reminder.")
    oldest_waiting_seconds: int | None = Field(description="Null: nothing waits.")
    more: bool = Field(description="True: more wait than were counted.")


class AllCounts(BaseModel):
    """By role; null for a role that the caller does not have."""

    doctor: Counts | None
    pharmacist: Counts | None


def counts(
    waiting: Sequence[Waiting], me: str, away: frozenset[str], now: datetime, soon: timedelta
) -> Counts:
    """Of ``waiting``, the oldest first; ``away``: for whom the caller stands in."""
    lines, more = waiting[:COUNTED], len(waiting) > COUNTED
    holders = [(alone(line, now), line.bound_to) for line in lines]
    oldest = lines[0].waiting_since if lines else None
    return Counts(
        waiting=len(lines),
        mine=sum(h is not None and (h == me or (h in away and h != b)) for h, b in holders),
        pool=sum(holder is None for holder, _ in holders),
        returned=sum(line.status == Status.RETURNED for line in lines),
        suspended=sum(line.status == Status.SUSPENDED for line in lines),
        due_soon=sum(line.deadline is not None and line.deadline <= now + soon for line in lines),
        oldest_waiting_seconds=None if oldest is None else int((now - oldest).total_seconds()),
        more=more,
    )


def line_of(row: Mapping[str, Any]) -> Waiting:
    fields: dict[str, Any] = {field: row.get(field) for field in Waiting._fields}
    return Waiting(**{**fields, "stage": RefillStage(fields["stage"])})
