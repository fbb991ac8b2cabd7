"""What do hospital systems tell about their staff (``hospital.staff``)?"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, Id, Language, Line, Sensitive, Word


class StaffRole(StrEnum):
    """The roles of staff, as in the claim ``roles``."""

    DOCTOR = "doctor"
    NURSE = "nurse"
    PHARMACIST = "pharmacist"
    OPS = "ops"


class PractitionerRecord(Event):
    """The whole record as it is now, not a difference."""

    TOPIC: ClassVar[str] = "hospital.staff"
    KEY: ClassVar[str] = "practitioner_id"
    SUBJECT: ClassVar[str] = "practitioner_id"

    practitioner_id: Id = Field(description="The practitioner; also their own person id.")
    name: Sensitive[Line] = Field(description="Full name.")
    roles: tuple[StaffRole, ...] = Field(min_length=1, description="What they may do.")
    departments: tuple[Code, ...] = Field(default=(), max_length=64, description="Where they work.")
    practising_since: date | None = Field(
        default=None,
        description="Start of independent practice (its years decide who may prescribe).",
    )
    deputy_id: Id | None = Field(default=None, description="Who stands in for them.")
    language: Language | None = Field(default=None, description="Preferred language (BCP 47).")
    updated_at: AwareDatetime = Field(
        description="When the record took this form; an older one is stale."
    )


class PractitionerRegistered(PractitionerRecord):
    """A practitioner began to work here."""

    TYPE: ClassVar[str] = "hospital.practitioner.registered.v1"


class PractitionerUpdated(PractitionerRecord):
    """A practitioner's record changed."""

    TYPE: ClassVar[str] = "hospital.practitioner.updated.v1"


class PractitionerLeft(Event):
    """A practitioner no longer works here."""

    TYPE: ClassVar[str] = "hospital.practitioner.left.v1"
    TOPIC: ClassVar[str] = "hospital.staff"
    KEY: ClassVar[str] = "practitioner_id"
    SUBJECT: ClassVar[str] = "practitioner_id"

    practitioner_id: Id = Field(description="The practitioner.")
    left_at: AwareDatetime = Field(description="When they left.")
    reason: Word | None = Field(default=None, description="Why they left.")
