"""What is kept of conditions, allergies, stays and practitioners?

One small document for each record of the hospital's, under the id that it has there, so
that facts may come late, twice and in any order, and a merge of patients moves nothing.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import ClassVar, Final

from libs.common.decision import Document, derived_id
from libs.common.events import (
    AllergyCategory,
    ClinicalStatus,
    Criticality,
    Sensitive,
    StaffRole,
    VerificationStatus,
)

#: A category, its subcategory (X where it has none), and what China's versions add behind it:
#: two digits (GB/T 14396), and a number of the clinical version, which is finer than ICD-10.
_ICD10: Final = re.compile(r"([A-Z]\d\d)(?:\.([0-9X])(\d*)(?:X\d+)?)?")

_WRONG = frozenset({VerificationStatus.REFUTED, VerificationStatus.ENTERED_IN_ERROR})
_BACK = frozenset({ClinicalStatus.RECURRENCE, ClinicalStatus.RELAPSE})
_PRESENT = _BACK | {ClinicalStatus.ACTIVE}


def icd10(code: str) -> str:
    """``code`` as WHO's ICD-10 writes it, to compare one disease with another: ``I10`` for
    ``I10.x00x002``, ``I63.9`` for ``I63.900``. Any other code is as it was told, in capitals."""
    found = _ICD10.fullmatch(code := code.strip().upper())
    if found is None:
        return code
    category, sub, more = found.groups()
    detail = ("" if sub in (None, "X") else sub) + (more or "").rstrip("0")
    return f"{category}.{detail}" if detail else category


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
    display: Sensitive[str | None] = None
    #: When it was first recorded, whatever was changed in it since.
    first_recorded_at: datetime
    #: The encounter at which it was last recorded.
    encounter_id: str | None = None
    #: When it began anew, if it did since it was first recorded.
    again_at: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """Since when it is what it is now."""
        return self.again_at or self.first_recorded_at

    @property
    def is_back(self) -> bool:
        """Whether it is told to have come back."""
        return not self.is_wrong and self.clinical_status in _BACK

    def after(self, earlier: Condition, known: timedelta) -> Condition:
        """This form of the record with what an ``earlier`` one says of when it began: anew if it
        was over before, has come back, or is recorded at another encounter and was not for as
        long as ``known``. Once anew, nothing older that comes late makes it one with before."""
        began = self.again_at or min(self.began_at, earlier.began_at)
        if self.clinical_status in _PRESENT:
            back = self.clinical_status in _BACK and self.clinical_status != earlier.clinical_status
            other = self.encounter_id not in (None, earlier.encounter_id)
            if earlier.clinical_status not in _PRESENT:
                over = earlier.recorded_at
                began = self.began_at if over <= self.began_at else self.recorded_at
            elif back or (other and self.began_at - earlier.recorded_at > known):
                began = self.began_at
        first = min(self.first_recorded_at, earlier.first_recorded_at)
        anew: Condition = self.but(
            first_recorded_at=first, again_at=began if began > first else None
        )
        return anew


class Allergy(Recorded):
    COLLECTION: ClassVar[str] = "allergies"

    code: Sensitive[str | None] = None
    system: str | None = None
    display: Sensitive[str]
    criticality: Criticality | None = None
    category: AllergyCategory | None = None

    @property
    def code_in_atc(self) -> str | None:
        """What rules can compare with a medicine."""
        return self.code.upper() if self.code and (self.system or "").upper() == "ATC" else None

    @property
    def as_told(self) -> str:
        """Its id with a digest of what it says: told again it is the same, reworded another."""
        said = (self.display, self.code, self.system, self.criticality)
        return f"{self.id}@{derived_id('allergy', self.id, *said)}"

    @property
    def may_be_to_a_medicine(self) -> bool:
        return self.category not in (AllergyCategory.FOOD, AllergyCategory.ENVIRONMENT)


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

    #: As it stands on prescriptions; None of records that were kept before.
    name: Sensitive[str | None] = None
    roles: tuple[StaffRole, ...] = ()
    departments: tuple[str, ...] = ()
    practising_since: date | None = None
    deputy_id: str | None = None
    #: When the record took this form; None: only that they left is known yet.
    updated_at: datetime | None = None
    left_at: datetime | None = None

    def has_left(self, now: datetime) -> bool:
        """Whether they no longer work here; who is registered again later does."""
        left = self.left_at
        return (
            left is not None and left <= now and (self.updated_at is None or self.updated_at < left)
        )
