"""Which stay is a message about (PV1)?"""

from __future__ import annotations

from libs.common.decision import derived_id
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, as_id


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
