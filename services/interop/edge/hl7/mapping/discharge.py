"""What does the end of a stay or visit (ADT^A03) tell?

Of an inpatient the discharge, with the patient and the guardians as the hospital knew them
then, so that nobody needs another message to act on it. Of everybody that they were seen: to
HL7 an outpatient who goes home is "discharged" as well, and nobody should invite them for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

from libs.common.events import (
    Disposition,
    EncounterDischarged,
    Event,
    Guardian,
    PatientSnapshot,
    VisitClass,
)
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping import clinical, people
from services.interop.edge.hl7.mapping.diagnoses import diagnoses
from services.interop.edge.hl7.mapping.procedures import performed, procedures
from services.interop.edge.hl7.mapping.reading import Mapped, Reading
from services.interop.edge.hl7.mapping.visit import attending, class_of, completed, encounter_id
from services.interop.edge.hl7.message import Segment

T = TypeVar("T")

#: What one event holds of each; the rest is noted.
_MOST: Final = 64
_MOST_GUARDIANS: Final = 16


def ended(reading: Reading) -> Mapped:
    pid, pv1 = reading.message.need("PID"), reading.message.need("PV1")
    patient_id, meant = reading.patient_id(pid), class_of(reading, pv1)
    if meant is None:
        reading.note("not_used", pv1, 2, "neither a stay nor a visit: nothing has ended")
        return Mapped((), patient_id)
    evn, header = reading.message.first("EVN"), reading.message.header
    at = reading.moment(((pv1, 45), (evn, 6), (evn, 2), (header, 7)))
    events: list[Event] = []
    left_out: frozenset[str] = frozenset()
    if meant is VisitClass.INPATIENT:
        patient = people.person(reading, pid)
        events.append(_discharged(reading, pv1, patient, at))
        left_out = patient.left_out
    elif _died(reading, pid, pv1):
        events.append(people.death(reading, pid, patient_id))
    events += (
        completed(reading, patient_id, meant, at),
        *performed(reading, patient_id),
        *clinical.recorded(reading, patient_id, at),
    )
    return Mapped(tuple(events), patient_id, left_out=left_out)


def _died(reading: Reading, pid: Segment, pv1: Segment) -> bool:
    codes = reading.profile.tables.disposition.codes
    died = codes.get(pv1.text(36) or "") is Disposition.DECEASED
    return died or people.has_died(reading, pid)


def _discharged(
    reading: Reading, pv1: Segment, patient: people.Person, at: datetime
) -> EncounterDischarged:
    guardians = [
        Guardian(person_id=k.person_id, relationship=k.relationship, **k.contact.model_dump())
        for k in people.kin(reading, patient, at)
        if k.ended_at is None
    ]
    return EncounterDischarged(
        encounter_id=encounter_id(reading, patient.patient_id),
        patient_id=patient.patient_id,
        patient=PatientSnapshot(
            name=patient.name,
            phone=patient.phone,
            email=patient.email,
            language=patient.language,
            birth_date=patient.birth_date,
            gender=patient.gender,
            deceased=patient.deceased,
        ),
        guardians=tuple(guardians[:_MOST_GUARDIANS]),
        department=reading.need_department(),
        diagnoses=_first(reading, pv1, list(diagnoses(reading)), "diagnoses"),
        procedures=_first(reading, pv1, [p for _, p in procedures(reading)], "procedures"),
        attending=attending(pv1),
        admitted_at=types.moment(pv1, 44, reading.zone),
        discharged_at=at,
        disposition=_disposition(reading, pv1, deceased=patient.deceased),
    )


def _disposition(reading: Reading, pv1: Segment, *, deceased: bool) -> Disposition:
    code = pv1.text(36)
    if code is not None:
        table = reading.profile.tables.disposition
        return reading.meaning(table, code, (pv1, 36), Disposition.OTHER, "disposition")
    if deceased:
        return Disposition.DECEASED
    default = reading.profile.defaults.disposition
    if default is None:
        raise pv1.missing(36)
    reading.note("defaulted", pv1, 36, "no disposition: the profile's default")
    return default


def _first(reading: Reading, pv1: Segment, found: list[T], what: str) -> tuple[T, ...]:
    if len(found) > _MOST:
        reading.note("left_out", pv1, 0, f"{len(found) - _MOST} {what} beyond {_MOST}")
    return tuple(found[:_MOST])
