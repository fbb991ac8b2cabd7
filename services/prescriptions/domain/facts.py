"""What do the rules look at, and what do they say?

One small value, gathered once for each decision and kept with it: the same facts can be
put to another version of the rules later, and nothing has to be guessed from documents
that have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from libs.common.events import Sensitive


class Value(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Severity(StrEnum):
    """How grave an alert of a clinical check is."""

    CONTRAINDICATED = "contraindicated"
    MAJOR = "major"
    MODERATE = "moderate"
    MINOR = "minor"


class Alert(Value):
    """An alert of a clinical check, as rules look at it."""

    id: str
    severity: Severity


class Dispensed(Value):
    """The last time when the ingredient was prescribed or renewed, and for how many days."""

    at: datetime
    days: int | None = None


class Renewed(Value):
    """A renewal that counts. ``refills_allowed``: how many may follow it, by its doctor;
    ``replaces``: it changed the dosing."""

    at: datetime
    refills_allowed: int | None = None
    replaces: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_kept_before(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, datetime | str) else value


class Redosed(Value):
    """Another dosing that a doctor prescribed ``at`` a time, ``until`` it is stopped."""

    at: datetime
    until: datetime | None = None


class Deciding(Value):
    """What a doctor or pharmacist does, as far as rules look at it."""

    is_party: bool
    #: Whether the hospital told that they no longer work there.
    has_left: bool = False
    #: Whether it came back to another doctor, who signed it.
    is_anothers: bool = False
    #: Whether the same person signed it as a doctor.
    has_signed: bool = False
    valid_days: int = 1
    days_supply: int | None = None
    noted: bool = False
    assessed: bool = False
    patient_signed: bool = False
    practising_since: date | None = None
    #: Whether the dosing is changed.
    replaces: bool = False
    #: The alerts that the same person acknowledges.
    acknowledged: tuple[str, ...] = ()


class Facts(Value):
    """The facts of one renewal. Times are kept as they are; the calendar is the policy's."""

    deceased: bool
    birth_date: Sensitive[date | None]
    oneself: bool
    #: Whether who asked may act for the patient. Whoever may not can't ask at all.
    requester_acts: bool = True
    code: str
    authored_here: bool
    has_diagnosis: bool
    #: What it was prescribed for. None: of before this was kept.
    diagnoses: Sensitive[tuple[str, ...] | None] = None
    issued_at: datetime
    #: When a doctor prescribed it to a patient whom they saw: not that of a renewal's own. None:
    #: nobody told.
    seen_at: datetime | None
    days_supply: int | None
    stopped_at: datetime | None
    under_way: int
    #: In order of time.
    renewals: tuple[Renewed, ...]
    last_visit_at: datetime | None
    dispensed: Dispensed | None
    #: Other medicines that were asked for on the same day.
    others_today: int
    declaration: Sensitive[Mapping[str, str] | None] = None
    deciding: Deciding | None = None
    #: After a doctor prescribed it: when what was not diagnosed before was, stays that began, and
    #: other prescriptions that were stopped.
    diagnosed: tuple[datetime, ...] = ()
    admitted: tuple[datetime, ...] = ()
    others_stopped: tuple[datetime, ...] = ()
    #: Of the allergies that are present: ATC codes, and how many have none. None: none was
    #: ever told, which is not that there are none.
    allergies: Sensitive[tuple[str, ...] | None] = None
    allergies_uncoded: int = 0
    #: Whether a renewal has since changed the dosing of what this prescription says.
    replaced: bool = False
    #: Other dosings of the ingredient that the department's doctors prescribed.
    redosed: tuple[Redosed, ...] = ()
    #: If it is a renewal's own prescription, when that took effect.
    effective_at: datetime | None = None
    #: Of the clinical checks: what they warn of, and which were not made. None: nobody checked.
    alerts: Sensitive[tuple[Alert, ...] | None] = None
    unchecked: tuple[str, ...] = ()
    #: Which of the uncoded may be to a medicine: the hospital's records, as they were told.
    allergies_in_words: tuple[str, ...] = ()
    #: Whether any condition or stay was ever told. Facts of before this was kept: yes.
    health_told: bool = True

    @model_validator(mode="before")
    @classmethod
    def _as_kept_before(cls, value: Any) -> Any:
        if isinstance(value, dict) and "seen_at" not in value:
            return {**value, "seen_at": value.get("issued_at")}
        return value


def counting(renewals: Sequence[Renewed], visit: datetime | None) -> Sequence[Renewed]:
    """Those that count: since the last visit in person."""
    return [r for r in renewals if visit is None or r.at >= visit]


def still_allowed(counted: Sequence[Renewed], limit: int) -> int:
    """How many more there may be: ``limit`` in all, and after each no more than its doctor
    allowed."""
    allowed = [
        r.refills_allowed - after
        for after, r in enumerate(reversed(counted))
        if r.refills_allowed is not None
    ]
    return max(0, min((limit - len(counted), *allowed)))


class Verdict(StrEnum):
    """What a rule said. ``not_checked``: what it would look at is not known; never a yes."""

    PASSED = "passed"
    REFUSED = "refused"
    NOT_CHECKED = "not_checked"


class Outcome(Value):
    """What one rule said, and the figures that it looked at."""

    rule: str
    verdict: Verdict
    figures: Sensitive[Mapping[str, Any]] = {}
