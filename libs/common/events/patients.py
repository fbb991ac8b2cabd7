"""What do hospital systems tell about patients and who may act for them (``hospital.patients``)?

The patient is a person too: their own person id is their ``patient_id``. Names, phones
and guardians travel on this topic (and in a discharge's snapshot), nowhere else.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Contact, Event, Id, Sensitive, Word


class Gender(StrEnum):
    """FHIR administrative gender."""

    MALE = "male"
    FEMALE = "female"
    OTHER = "other"
    UNKNOWN = "unknown"


class Relationship(StrEnum):
    """What the person is to the patient (a subset of FHIR's RelatedPerson.relationship)."""

    MOTHER = "mother"
    FATHER = "father"
    GRANDPARENT = "grandparent"
    LEGAL_GUARDIAN = "legal_guardian"
    SPOUSE = "spouse"
    CHILD = "child"
    SIBLING = "sibling"
    OTHER = "other"


class LinkScope(StrEnum):
    """What a person may do for a patient; ``full`` is everything, also what comes later."""

    FULL = "full"
    RECORDS = "records"
    REFILLS = "refills"
    GROUP = "group"


class PatientRecord(Event, Contact):
    """The whole record as it is now, not a difference: an absent field is unknown."""

    TOPIC: ClassVar[str] = "hospital.patients"
    SUBJECT: ClassVar[str] = "patient_id"

    patient_id: Id = Field(description="The patient; also the patient's own person id.")
    birth_date: Sensitive[date] = Field(description="Date of birth.")
    gender: Gender = Field(default=Gender.UNKNOWN, description="Administrative gender.")
    active: bool = Field(default=True, description="False: the record is no longer in use.")
    updated_at: AwareDatetime = Field(
        description="When the record took this form at the hospital; an older one is stale."
    )


class PatientRegistered(PatientRecord):
    """A patient became known to the hospital."""

    TYPE: ClassVar[str] = "hospital.patient.registered.v1"


class PatientUpdated(PatientRecord):
    """A patient's record changed; it also serves a reader that missed the registration."""

    TYPE: ClassVar[str] = "hospital.patient.updated.v1"


class PatientMerged(Event):
    """Two records turned out to be one person: ``patient_id`` is now an alias."""

    TYPE: ClassVar[str] = "hospital.patient.merged.v1"
    TOPIC: ClassVar[str] = "hospital.patients"
    SUBJECT: ClassVar[str] = "patient_id"

    patient_id: Id = Field(description="The patient whose record goes.")
    survivor_id: Id = Field(description="The patient whose record stays.")
    merged_at: AwareDatetime = Field(description="When the records were merged.")


class PatientDeceased(Event):
    """A patient has died: nobody is invited, nothing is pushed any more."""

    TYPE: ClassVar[str] = "hospital.patient.deceased.v1"
    TOPIC: ClassVar[str] = "hospital.patients"
    SUBJECT: ClassVar[str] = "patient_id"

    patient_id: Id = Field(description="The patient.")
    deceased_at: AwareDatetime = Field(description="Time of death, as recorded.")


class GuardianLinked(Event):
    """A person may act for a patient. Said again with other values, it replaces the link."""

    TYPE: ClassVar[str] = "hospital.guardian.linked.v1"
    TOPIC: ClassVar[str] = "hospital.patients"
    SUBJECT: ClassVar[str] = "patient_id"

    patient_id: Id = Field(description="The patient.")
    person_id: Id = Field(description="The person who may act for the patient.")
    relationship: Relationship = Field(description="What the person is to the patient.")
    scope: tuple[LinkScope, ...] = Field(
        default=(LinkScope.FULL,), min_length=1, description="What the person may do."
    )
    verified_by: Word = Field(
        description="How it was verified: household_register, id_card, court, staff, ..."
    )
    valid_until: AwareDatetime | None = Field(
        default=None, description="The link ends then by itself; absent: it has no end."
    )
    linked_at: AwareDatetime = Field(
        description="Since when the link is so; an older one is stale."
    )
    contact: Contact = Field(description="The person's name and contact, as a snapshot.")


class GuardianUnlinked(Event):
    """A person may no longer act for a patient."""

    TYPE: ClassVar[str] = "hospital.guardian.unlinked.v1"
    TOPIC: ClassVar[str] = "hospital.patients"
    SUBJECT: ClassVar[str] = "patient_id"

    patient_id: Id = Field(description="The patient.")
    person_id: Id = Field(description="The person whose link ends.")
    unlinked_at: AwareDatetime = Field(description="When it ended.")
    reason: Word | None = Field(default=None, description="Why it ended.")
