"""Which stay or visit is a message about (PV1), and of what class?"""

from __future__ import annotations

from datetime import datetime

from libs.common.decision import derived_id
from libs.common.events import Attending, VisitCancelled, VisitClass, VisitCompleted
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, as_id, line
from services.interop.edge.hl7.message import Segment


def visit_number(reading: Reading) -> str | None:
    """The visit's number, by the first of the profile's places that holds one."""
    for place in reading.profile.visit_number:
        name, number = place.split("-")
        segment = reading.message.first(name)
        text = segment.text(int(number)) if segment is not None else None
        if segment is not None and text is not None:
            return as_id(text, segment, int(number))
    return None


def encounter_id(reading: Reading, patient_id: str) -> str:
    """The visit's number; else one derived from the patient and the time of admission, which
    every message about the stay must then repeat."""
    found = visit_number(reading)
    if found is not None:
        return found
    pv1 = reading.message.need("PV1")
    admitted = types.moment(pv1, 44, reading.zone)
    if admitted is None:
        raise pv1.missing(19, "no visit number, and no admission time to derive one from")
    reading.note("encounter_id_derived", pv1, 19, "from the patient and the admission time")
    return derived_id("encounter", patient_id, admitted.isoformat())


def class_of(reading: Reading, pv1: Segment) -> VisitClass | None:
    """PV1-2 by the profile's table; ``None`` where it says neither a stay nor a visit."""
    code, default = pv1.text(2), reading.profile.defaults.visit_class
    if code is not None:
        return reading.meaning(
            reading.profile.tables.visit_class, code, (pv1, 2), default, "patient class"
        )
    if default is None:
        raise pv1.missing(2)
    reading.note("defaulted", pv1, 2, "no patient class: the profile's default")
    return default


def names_a_visit(reading: Reading, pv1: Segment) -> bool:
    return visit_number(reading) is not None or pv1.text(44) is not None


def recorded(reading: Reading) -> datetime:
    """Since when the record is so: entered (EVN-2), else when it happened, else when sent. In
    what takes back, EVN-6 is the time of what it takes back (HL7 v2.5, 3.4.1.6)."""
    evn = reading.message.first("EVN")
    return reading.moment(((evn, 2), (evn, 6), (reading.message.header, 7)))


def attending(pv1: Segment) -> Attending | None:
    id = pv1.text(7)
    if id is None:
        return None
    name = line(types.person_name(pv1.values(7)[:1], first=2))
    return Attending(practitioner_id=as_id(id, pv1, 7), name=name)


def completed(
    reading: Reading, patient_id: str, visit_class: VisitClass, at: datetime
) -> VisitCompleted:
    """That the patient was seen, at PV1's department by PV1's physician."""
    pv1 = reading.message.need("PV1")
    physician = attending(pv1)
    return VisitCompleted(
        visit_id=encounter_id(reading, patient_id),
        patient_id=patient_id,
        visit_class=visit_class,
        department=reading.need_department(),
        practitioner_id=physician.practitioner_id if physician else None,
        occurred_at=at,
        recorded_at=recorded(reading),
    )


def class_of_wrong(reading: Reading, pv1: Segment) -> VisitClass | None:
    """Of what is taken back, which is refused for no class: one that is missing or unknown is
    the default."""
    default = reading.profile.defaults.visit_class or VisitClass.INPATIENT
    return reading.profile.tables.visit_class.codes.get(pv1.text(2) or "", default)


def taken_back(reading: Reading, patient_id: str, reason: str | None = None) -> VisitCancelled:
    """That the patient was not seen, or that the visit goes on."""
    return VisitCancelled(
        visit_id=encounter_id(reading, patient_id),
        patient_id=patient_id,
        visit_class=class_of_wrong(reading, reading.message.need("PV1")),
        cancelled_at=recorded(reading),
        reason=reason,
    )
