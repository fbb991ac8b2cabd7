"""What is kept of conditions, allergies, stays and practitioners?

One small document for each record of the hospital's, under the id that it has there, so
that facts may come late, twice and in any order, and a merge of patients moves nothing.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from libs.common.decision import Document
from libs.common.events import ClinicalStatus, Sensitive, VerificationStatus

_WRONG = frozenset({VerificationStatus.REFUTED, VerificationStatus.ENTERED_IN_ERROR})
_PRESENT = frozenset({ClinicalStatus.ACTIVE, ClinicalStatus.RECURRENCE, ClinicalStatus.RELAPSE})


class Recorded(Document):
    """A clinical record as it is now."""

    patient_id: str
    clinical_status: ClinicalStatus
    verification_status: VerificationStatus
    recorded_at: datetime

    @property
    def is_wrong(self) -> bool:
        """Whether the hospital took it back."""
        return self.verification_status in _WRONG

    @property
    def is_present(self) -> bool:
        return not self.is_wrong and self.clinical_status in _PRESENT


class Condition(Recorded):
    COLLECTION: ClassVar[str] = "conditions"

    code: Sensitive[str]
    #: When it was first recorded, whatever was changed in it since.
    first_recorded_at: datetime


class Allergy(Recorded):
    COLLECTION: ClassVar[str] = "allergies"

    code: Sensitive[str | None] = None
    system: str | None = None
    display: Sensitive[str]


class Stay(Document):
    """A stay in the hospital. Without ``admitted_at`` only that it was taken back is known."""

    COLLECTION: ClassVar[str] = "stays"

    patient_id: str
    admitted_at: datetime | None = None
    #: When the admission was told: what was told before it was taken back never was.
    told_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def began_at(self) -> datetime | None:
        cancelled = self.cancelled_at is not None and (
            self.told_at is None or self.told_at <= self.cancelled_at
        )
        return None if cancelled else self.admitted_at


class Practitioner(Document):
    COLLECTION: ClassVar[str] = "practitioners"

    practising_since: date | None = None
    updated_at: datetime
