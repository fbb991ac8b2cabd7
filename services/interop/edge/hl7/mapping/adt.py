"""What do patients' and stays' messages (ADT) tell?

A28 registers a person; every other message with a PID updates the record, which serves a
reader that missed the registration, too, and tells diagnoses and allergies. A01 begins a stay,
A03 ends one, A11 and A13 take that back, A40 merges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from libs.common.events import (
    AdmissionCancelled,
    DischargeCancelled,
    EncounterAdmitted,
    Event,
    GuardianLinked,
    GuardianUnlinked,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    VisitClass,
)
from services.interop.domain.stay import UNKNOWN_DISCHARGE
from services.interop.edge.hl7.mapping import clinical, people
from services.interop.edge.hl7.mapping.discharge import ended
from services.interop.edge.hl7.mapping.reading import Mapped, Reading, as_id
from services.interop.edge.hl7.mapping.visit import (
    attending,
    class_of,
    class_of_wrong,
    encounter_id,
    names_a_visit,
    recorded,
    taken_back,
)
from services.interop.edge.hl7.message import Value
from services.interop.edge.hl7.refused import ErrorCode


def _happened(reading: Reading) -> datetime:
    evn = reading.message.first("EVN")
    return reading.moment(((evn, 6), (evn, 2), (reading.message.header, 7)))


def _record(reading: Reading, kind: type[PatientRegistered] | type[PatientUpdated]) -> Mapped:
    pid = reading.message.need("PID")
    patient = people.person(reading, pid)
    at = recorded(reading)
    record = kind(
        patient_id=patient.patient_id,
        name=patient.name,
        phone=patient.phone,
        email=patient.email,
        language=patient.language,
        birth_date=patient.birth_date,
        gender=patient.gender,
        updated_at=at,
    )
    events: list[Event] = [record, *_links(reading, patient, at)]
    if patient.deceased:
        events.append(people.death(reading, pid, patient.patient_id))
    events += clinical.recorded(reading, patient.patient_id, at)
    return Mapped(tuple(events), patient.patient_id, left_out=patient.left_out)


def _links(reading: Reading, patient: people.Person, at: datetime) -> Iterator[Event]:
    rule = reading.profile.guardians
    for kin in people.kin(reading, patient, at):
        if kin.ended_at is not None:
            ended_at = max(at, kin.ended_at)  # of a link told in the meantime it is the end, too
            yield GuardianUnlinked(
                patient_id=patient.patient_id, person_id=kin.person_id, unlinked_at=ended_at
            )
            continue
        yield GuardianLinked(
            patient_id=patient.patient_id,
            person_id=kin.person_id,
            relationship=kin.relationship,
            scope=rule.scope,
            verified_by=rule.verified_by,
            valid_until=kin.valid_until,
            linked_at=at,
            contact=kin.contact,
        )


def registered(reading: Reading) -> Mapped:
    return _record(reading, PatientRegistered)


def updated(reading: Reading) -> Mapped:
    return _record(reading, PatientUpdated)


def admitted(reading: Reading) -> Mapped:
    """Whatever is missing of the stay, the patient's record is taken."""
    record = updated(reading)
    pv1 = reading.message.first("PV1")
    if pv1 is None or not names_a_visit(reading, pv1):
        segment = pv1 or reading.message.header
        reading.note("not_used", segment, 19 if pv1 else 9, "names no stay: nobody is admitted")
        return record
    evn, header = reading.message.first("EVN"), reading.message.header
    if class_of(reading, pv1) is not VisitClass.INPATIENT:
        reading.note("not_used", pv1, 2, "no inpatient: nobody is admitted")
        return record
    event = EncounterAdmitted(
        encounter_id=encounter_id(reading, record.patient_id),
        patient_id=record.patient_id,
        department=reading.department(),
        attending=attending(pv1),
        admitted_at=reading.moment(((pv1, 44), (evn, 6), (evn, 2), (header, 7))),
    )
    return replace(record, events=(*record.events, event))


def admission_cancelled(reading: Reading) -> Mapped:
    """Of a stay, or of a visit (HL7: cancel admit or visit), which never was."""
    patient_id, pv1 = reading.patient_id(reading.message.need("PID")), reading.message.need("PV1")
    meant = class_of_wrong(reading, pv1)
    stay = meant is VisitClass.INPATIENT
    if meant is None or not (stay or names_a_visit(reading, pv1)):
        reading.note("not_used", pv1, 19 if meant else 2, "neither a stay nor a visit")
        return Mapped((), patient_id)
    visit = taken_back(reading, patient_id)
    if not stay:
        return Mapped((visit,), patient_id)
    admission = AdmissionCancelled(
        encounter_id=visit.visit_id, patient_id=patient_id, cancelled_at=visit.cancelled_at
    )
    return Mapped((admission, visit), patient_id)


def discharge_cancelled(reading: Reading) -> Mapped:
    """The discharge is the stay's last one; which that was, the caller knows. Of an outpatient
    there is none, but their visit has not ended either."""
    patient_id = reading.patient_id(reading.message.need("PID"))
    visit = taken_back(reading, patient_id)
    discharge = DischargeCancelled(
        encounter_id=visit.visit_id,
        patient_id=patient_id,
        discharge_event_id=UNKNOWN_DISCHARGE,
        cancelled_at=_happened(reading),
    )
    return Mapped((discharge, visit), patient_id)


def allergies(reading: Reading) -> Mapped:
    """A60: nothing but the patient's allergies (IAM)."""
    patient_id = reading.patient_id(reading.message.need("PID"))
    return Mapped(tuple(clinical.recorded(reading, patient_id, recorded(reading))), patient_id)


def merged(reading: Reading) -> Mapped:
    """Each PID survives; the identifier in its MRG-1 becomes an alias."""
    events: list[Event] = []
    at = _happened(reading)
    for group in reading.message.groups("PID"):
        mrg = group.need("MRG")
        kept, going = reading.patient(group.head), reading.patient(mrg, 1)
        if not _are_of_one_kind(kept, going):
            text = "not of the type and authority by which the profile knows the patient in PID-3"
            raise mrg.refused(1, ErrorCode.UNKNOWN_KEY, text)
        survivor = as_id(kept.text() or "", group.head, 3)
        gone = as_id(going.text() or "", mrg, 1)
        if survivor == gone:
            raise mrg.refused(1, ErrorCode.DATA_TYPE, "a patient is not merged with itself")
        events.append(PatientMerged(patient_id=gone, survivor_id=survivor, merged_at=at))
    first = reading.message.need("PID")
    return Mapped(tuple(events), reading.patient_id(first))


def _are_of_one_kind(one: Value, other: Value) -> bool:
    """Else one number of a laboratory's would become the alias of another patient's. Who names
    no authority means the usual one."""
    authorities = (one.text(4) or one.text(4, 2), other.text(4) or other.text(4, 2))
    return one.text(5) == other.text(5) and (None in authorities or len({*authorities}) == 1)


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {
    "A01": admitted,
    "A03": ended,
    "A04": updated,
    "A08": updated,
    "A11": admission_cancelled,
    "A13": discharge_cancelled,
    "A28": registered,
    "A31": updated,
    "A40": merged,
    "A60": allergies,
}
