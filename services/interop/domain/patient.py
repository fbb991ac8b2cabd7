"""What was known of a patient before, where a message leaves it out?

In HL7 v2 an empty field means "no change" and only ``""`` takes a value away (2.5, section
2.5.3). Our events hold the whole record, where an absent field is unknown. So what senders
leave out is kept here, or a message about a transfer would cost the patient their phone.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document
from libs.common.events import (
    EncounterDischarged,
    Event,
    Gender,
    PatientRegistered,
    PatientUpdated,
)
from libs.common.events.base import Sensitive


class Known(BaseModel):
    """What a message may leave out; everything else it has to say each time."""

    model_config = ConfigDict(frozen=True)

    phone: str | None = None
    email: str | None = None
    language: str | None = None
    gender: Gender = Gender.UNKNOWN


FIELDS: Final = frozenset(Known.model_fields)


class Patient(Document):
    """One patient: in whose stream the facts are numbered, so that they leave in order."""

    COLLECTION: ClassVar[str] = "patients"

    known: Sensitive[Known] = Known()
    #: Since when it is so, by the hospital's own time: an older message changes nothing.
    known_at: datetime | None = None


def completed(event: Event, patient: Patient, left_out: Set[str]) -> tuple[Event, Patient]:
    """``event`` with what its message left out, and ``patient`` after it."""
    if isinstance(event, PatientRegistered | PatientUpdated):
        now = _known(event, patient, left_out)
        return event.model_copy(update=dict(now)), _after(patient, now, event.updated_at)
    if isinstance(event, EncounterDischarged):
        now = _known(event.patient, patient, left_out)
        snapshot = event.patient.model_copy(update=dict(now))
        whole = event.model_copy(update={"patient": snapshot})
        return whole, _after(patient, now, event.discharged_at)
    return event, patient


def _after(patient: Patient, now: Known, at: datetime) -> Patient:
    if patient.known_at is not None and at < patient.known_at:
        return patient
    return patient.but(known=now, known_at=at)


def _known(said: BaseModel, patient: Patient, left_out: Set[str]) -> Known:
    return Known(
        **{
            name: getattr(patient.known if name in left_out else said, name)
            for name in Known.model_fields
        }
    )
