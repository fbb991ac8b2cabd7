"""What was asked for (OBR), for whom (PID) and by whom (OBR, ORC)?"""

from __future__ import annotations

from collections.abc import Iterable

from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, as_code, as_id
from services.interop.edge.hl7.message import Segment
from services.interop.edge.hl7.refused import ErrorCode


def the_patient(reading: Reading) -> Segment:
    """The one PID: order is kept by patient, so a message is about one."""
    pids = reading.message.all("PID")
    if len(pids) > 1:
        raise pids[1].refused(0, ErrorCode.SEGMENT_SEQUENCE, "one patient in a message")
    return reading.message.need("PID")


def code_of(reading: Reading, obr: Segment) -> str:
    """LOINC if the sender gives it, else its own."""
    codings = list(types.codings(obr.value(4)))
    if not codings:
        raise obr.missing(4)
    loinc = reading.profile.systems.loinc
    best = next((c for c in codings if (c.system or "").upper() in loinc), codings[0])
    return as_code(best.code, obr, 4)


def orderer_of(reading: Reading, obr: Segment) -> str | None:
    orc = reading.message.before(obr, "ORC", within="OBR")
    places: Iterable[tuple[Segment | None, int]] = ((obr, 16), (orc, 12))
    for segment, number in places:
        id = segment.text(number) if segment is not None else None
        if segment is not None and id is not None:
            return as_id(id, segment, number)
    return None
