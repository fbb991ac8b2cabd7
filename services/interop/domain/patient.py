"""What was known of a patient before, where a message leaves it out?

In HL7 v2 an empty field means "no change" and only ``""`` takes a value away (2.5, section
2.5.3). Our events hold the whole record, where an absent field is unknown. So what senders
leave out is kept here, or a message about a transfer would cost the patient their phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from hashlib import blake2b
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import Document
from libs.common.events import (
    AllergyRecorded,
    ConditionRecorded,
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


#: Conditions and allergies of one patient whose last state is kept; many more than anybody has.
#: What is forgotten is told once more, or a sender with ever new ids would fill the record.
MOST_TOLD: Final = 2_000


class Patient(Document):
    """One patient: in whose stream the facts are numbered, so that they leave in order."""

    COLLECTION: ClassVar[str] = "patients"

    known: Sensitive[Known] = Known()
    #: Since when it is so, by the hospital's own time: an older message changes nothing.
    known_at: datetime | None = None
    #: A hash of what was told last of each condition and allergy, by its id: systems repeat all
    #: of them in every message, and what is no news is not told again.
    told: Mapping[str, str] = Field(default_factory=dict)


def repeats(event: Event, patient: Patient) -> bool:
    """Whether ``event`` says of a condition or an allergy what was said of it last."""
    if not isinstance(event, ConditionRecorded | AllergyRecorded):
        return False
    return patient.told.get(_id_of(event)) == _hash(event)


def completed(event: Event, patient: Patient, left_out: Set[str]) -> tuple[Event, Patient]:
    """``event`` with what its message left out, and ``patient`` after it."""
    if isinstance(event, ConditionRecorded | AllergyRecorded):
        return event, patient.but(told=_told(event, patient))
    if isinstance(event, PatientRegistered | PatientUpdated):
        now = _known(event, patient, left_out)
        return event.model_copy(update=dict(now)), _after(patient, now, event.updated_at)
    if isinstance(event, EncounterDischarged):
        now = _known(event.patient, patient, left_out)
        snapshot = event.patient.model_copy(update=dict(now))
        whole = event.model_copy(update={"patient": snapshot})
        return whole, _after(patient, now, event.discharged_at)
    return event, patient


def _told(event: ConditionRecorded | AllergyRecorded, patient: Patient) -> dict[str, str]:
    """With what was told last at the end, and no more than :data:`MOST_TOLD`."""
    id = _id_of(event)
    before = [item for item in patient.told.items() if item[0] != id]
    return dict([*before[-(MOST_TOLD - 1) :], (id, _hash(event))])


def _id_of(event: ConditionRecorded | AllergyRecorded) -> str:
    return str(getattr(event, event.SUBJECT))


def _hash(event: ConditionRecorded | AllergyRecorded) -> str:
    text = event.model_dump_json(exclude={"recorded_at", "encounter_id"})
    return blake2b(text.encode(), digest_size=8).hexdigest()


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
