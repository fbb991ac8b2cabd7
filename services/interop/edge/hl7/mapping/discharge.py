"""What does the end of a stay or visit (ADT^A03) tell?

Of an inpatient the discharge, with the patient and the guardians as the hospital knew them
then, so that nobody needs another message to act on it. Of everybody that they were seen: to
HL7 an outpatient who goes home is "discharged" as well, and nobody should invite them for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final, TypeVar

from libs.common.events import (
    Attending,
    Diagnosis,
    DiagnosisUse,
    Disposition,
    EncounterDischarged,
    Event,
    Guardian,
    PatientSnapshot,
    Procedure,
    VisitClass,
)
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping import people
from services.interop.edge.hl7.mapping.reading import Mapped, Reading, as_code, as_id, line
from services.interop.edge.hl7.mapping.visit import class_of, completed, encounter_id
from services.interop.edge.hl7.message import Segment
from services.interop.edge.hl7.profile import OnUnknown
from services.interop.edge.hl7.refused import ErrorCode
from services.interop.edge.naming import as_icd10

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
    if meant is VisitClass.INPATIENT:
        patient = people.person(reading, pid)
        events: tuple[Event, ...] = (
            _discharged(reading, pv1, patient, at),
            completed(reading, patient_id, meant, at),
        )
        return Mapped(events, patient_id, left_out=patient.left_out)
    events = (completed(reading, patient_id, meant, at),)
    code = pv1.text(36)
    table = reading.profile.tables.disposition
    if people.has_died(reading, pid) or table.codes.get(code or "") is Disposition.DECEASED:
        events += (people.death(reading, pid, patient_id),)
    return Mapped(events, patient_id)


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
        procedures=_first(reading, pv1, list(_procedures(reading)), "procedures"),
        attending=_attending(reading, pv1),
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


def _attending(reading: Reading, pv1: Segment) -> Attending | None:
    id = pv1.text(7)
    if id is None:
        return None
    name = line(types.person_name(pv1.values(7)[:1], first=2))
    return Attending(practitioner_id=as_id(id, pv1, 7), name=name)


def diagnoses(reading: Reading) -> Iterator[Diagnosis]:
    """DG1 in ICD-10, or by the profile's table; anything else is left out with a note."""
    counted: Counter[DiagnosisUse] = Counter()
    for dg1 in reading.message.all("DG1"):
        if dg1.text(21) == "D":  # DG1-21: this diagnosis is deleted
            continue
        code = _icd10(reading, dg1)
        if code is None:
            continue
        use, kind = DiagnosisUse.DISCHARGE, dg1.text(6)
        if kind is not None:
            table = reading.profile.tables.diagnosis_use
            use = reading.meaning(table, kind, (dg1, 6), DiagnosisUse.OTHER, "diagnosis type")
        counted[use] += 1
        told = types.number_of(dg1.text(15) or "")
        rank = int(told) if told is not None and 1 <= told <= 99 else min(counted[use], 99)
        text = line(dg1.text(3, 2) or dg1.text(4))
        yield Diagnosis(code=code, display=text, use=use, rank=rank)


def _icd10(reading: Reading, dg1: Segment) -> str | None:
    systems, table = reading.profile.systems, reading.profile.tables.diagnosis
    codings = list(types.codings(dg1.value(3)))
    absent = dg1.text(2) or systems.diagnosis_if_absent
    for coded in codings:
        system = (coded.system or absent).upper()
        if system in systems.icd10 and (found := as_icd10(coded.code)):
            return found
        mapped = table.codes.get(f"{system}|{coded.code}")
        if mapped is not None:
            return mapped
    text = "neither ICD-10 nor in the profile's table: left out" if codings else "no code"
    if codings and table.unknown is OnUnknown.REFUSE:
        raise dg1.refused(3, ErrorCode.TABLE_VALUE_NOT_FOUND, text)
    reading.note("diagnosis_left_out", dg1, 3, text)
    return None


def _procedures(reading: Reading) -> Iterator[Procedure]:
    systems = reading.profile.systems
    for pr1 in reading.message.all("PR1"):
        coded = next(types.codings(pr1.value(3)), None)
        if coded is None:
            reading.note("procedure_left_out", pr1, 3, "no code")
            continue
        system = coded.system or pr1.text(2)
        name = systems.procedure_if_absent
        if system is not None:
            name = systems.procedures.get(system.upper()) or as_code(system, pr1, 3)
        yield Procedure(
            code=as_code(coded.code, pr1, 3),
            system=name,
            display=line(coded.text or pr1.text(4)),
            performed_at=types.moment(pr1, 5, reading.zone),
        )


def _first(reading: Reading, pv1: Segment, found: list[T], what: str) -> tuple[T, ...]:
    if len(found) > _MOST:
        reading.note("left_out", pv1, 0, f"{len(found) - _MOST} {what} beyond {_MOST}")
    return tuple(found[:_MOST])
