"""What waits for whom, and what does a line of a work list show?

A line is enough to choose by; who opens it gets the whole at ``GET /v1/refills/{id}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from libs.common.decision import Actor
from libs.common.events import Department, Medication, RefillStage
from services.prescriptions.domain.receipt import Receipt
from services.prescriptions.domain.steps import alone, claimed_by

#: What is read of a renewal for its line; the history and the signed forms are not.
ROW_FIELDS = (
    "id", "version", "patient_id", "prescription_id", "status", "reason", "number", "remaining",
    "deadline", "valid_on", "new_prescription_id", "requested_by", "requested_at", "note",
    "order", "changes", "waiting_since", "doctor_id", "pharmacist_id", "stage", "holder_id",
    "held_until", "bound_to",
)  # fmt: skip


class RefillRow(Receipt):
    """One line of a work list. The whole of it is at `GET /v1/refills/{id}`."""

    requested_by: str
    requested_at: datetime
    note: str | None
    medication: Medication
    days_supply: int | None = Field(description="Null: the hospital did not tell.")
    changed: tuple[str, ...] = Field(
        description="What a doctor prescribes otherwise; it is shown as it is prescribed."
    )
    department: Department
    prescriber_id: str
    waiting_since: datetime
    doctor_id: str | None = Field(description="Who signed it, or decided on it last.")
    pharmacist_id: str | None
    stage: RefillStage
    bound_to: str | None = Field(default=None, exclude=True)

    @property
    def place(self) -> tuple[datetime, str]:
        """Its place in the line."""
        return self.waiting_since, self.id

    def seen(self, now: datetime) -> RefillRow:
        """With who has it now, and not with whose claim has lapsed."""
        until = None if claimed_by(self, now) is None else self.held_until
        return self.model_copy(update={"holder_id": alone(self, now), "held_until": until})


def refill_row(row: Mapping[str, Any]) -> RefillRow:
    """The line of what the store has read with ``ROW_FIELDS``."""
    order = row["order"]
    changes = {k: v for k, v in (row.get("changes") or {}).items() if v is not None}
    medication = {**order["medication"], **{k: v for k, v in changes.items() if k == "strength"}}
    return RefillRow.model_validate(
        {**order, **changes, **row, "medication": medication, "changed": tuple(changes)}
    )


class Whose(StrEnum):
    MINE = "mine"  # nobody else decides on it: claimed, handed to me, or come back to me
    POOL = "pool"  # nobody's yet
    ALL = "all"  # with what colleagues have


@dataclass(frozen=True, slots=True)
class WorkList:
    """What waits at ``stage`` for ``actor``, who has that stage's role."""

    hospital: str
    actor: Actor
    stage: RefillStage
    whose: Whose
    department: str | None = None

    def places(self, away: Iterable[str]) -> list[Mapping[str, Any]]:
        """Where it may lie, each by one index; ``away``: for whom the actor stands in."""
        me, stage = self.actor.person, self.stage
        if self.whose is Whose.MINE:
            came_back = [{"bound_to": me}] if stage is RefillStage.DOCTOR else []
            return [*came_back, *({"holder_id": person} for person in (me, *sorted(away)))]
        if stage is RefillStage.PHARMACIST:
            return [{} if self.department is None else {"department_code": self.department}]
        theirs = [c for c in sorted(self.actor.departments) if self.department in (None, c)]
        return [*({"department_code": code} for code in theirs), {"prescriber_id": me}]

    def has(self, line: RefillRow, away: frozenset[str], now: datetime) -> bool:
        """Whether a line from one of the places is on it."""
        me, department = self.actor.person, line.department.code
        if self.stage is RefillStage.DOCTOR and not (
            department in self.actor.departments or line.prescriber_id == me
        ):
            return False
        if self.department not in (None, department):
            return False
        holder = alone(line, now)
        if self.whose is Whose.POOL:
            return holder is None
        if self.whose is Whose.MINE:
            return holder == me or (holder in away and holder != line.bound_to)
        return True
