"""What do the rules look at, and what do they say?

One small value, gathered once for each decision and kept with it: the same facts can be
put to another version of the rules later, and nothing has to be guessed from documents
that have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from libs.common.events import Sensitive


class Value(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Dispensed(Value):
    """The last time when the ingredient was prescribed or renewed, and for how many days."""

    at: datetime
    days: int | None = None


class Deciding(Value):
    """What a doctor or pharmacist does, as far as rules look at it."""

    is_party: bool
    #: Whether it was returned to another doctor, who signed it.
    is_anothers: bool = False
    #: Whether the same person signed it as a doctor.
    has_signed: bool = False
    valid_days: int = 1
    days_supply: int | None = None
    noted: bool = False
    assessed: bool = False
    patient_signed: bool = False
    practising_since: date | None = None


class Facts(Value):
    """The facts of one renewal. Times are kept as they are; the calendar is the policy's."""

    deceased: bool
    birth_date: Sensitive[date | None]
    oneself: bool
    code: str
    authored_here: bool
    has_diagnosis: bool
    issued_at: datetime
    days_supply: int | None
    stopped_at: datetime | None
    under_way: int
    renewals: tuple[datetime, ...]
    last_visit_at: datetime | None
    dispensed: Dispensed | None
    #: Other medicines that were asked for on the same day.
    others_today: int
    declaration: Sensitive[Mapping[str, str] | None] = None
    deciding: Deciding | None = None
    #: After it was prescribed: when what was not diagnosed before was, stays that began, and
    #: other prescriptions that were stopped.
    diagnosed: tuple[datetime, ...] = ()
    admitted: tuple[datetime, ...] = ()
    others_stopped: tuple[datetime, ...] = ()
    #: Of the allergies that are present: ATC codes, and how many have none. None: none was
    #: ever told, which is not that there are none.
    allergies: Sensitive[tuple[str, ...] | None] = None
    allergies_uncoded: int = 0


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
