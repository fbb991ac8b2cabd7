"""What does a command about a renewal answer?"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.transitions import Status


class View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Receipt(View):
    """Where a renewal stands, without what it is about. ``version`` is its ``ETag``."""

    id: str
    patient_id: str
    prescription_id: str
    status: Status
    reason: str | None = Field(
        description="Why the last step was taken, if it said no or something was wrong: a rule's"
        " reason, a code of `GET /v1/answer-reasons`, or one of `irregular`."
    )
    number: int | None = Field(description="It is this renewal since the last visit in person.")
    remaining: int | None = Field(description="Renewals left after it, until the next visit.")
    deadline: datetime | None = Field(
        description="Decided by then, or it expires; once in effect, dispensed by then."
    )
    valid_on: date | None = Field(description="The last day on which it may be dispensed.")
    new_prescription_id: str | None = Field(description="The renewal's own prescription.")
    holder_id: str | None = Field(description="To staff: who decides on it alone now.")
    held_until: datetime | None = Field(description="Until then; then it is free again.")
    version: int


def receipt(refill: Refill) -> dict[str, Any]:
    """The answer to the command that leaves ``refill``, which is yet to be saved."""
    saved: Refill = refill.but(version=refill.version + 1)
    return Receipt.model_validate(saved).model_dump(mode="json")
