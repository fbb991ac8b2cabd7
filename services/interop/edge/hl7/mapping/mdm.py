"""What do documents' messages (MDM^T01 to T11) tell? A document is a report: its text the
finding, its file told by reference.

A status is believed of either kind: that it is signed (TXA-17), and that it is there (TXA-19). A
replacement takes its predecessor away and comes as a corrected report of its own number, since
only the sender knows which document the first of a chain was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from libs.common.events import (
    Event,
    Hold,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
)
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping import results
from services.interop.edge.hl7.mapping.asked import code_of, orderer_of, the_patient
from services.interop.edge.hl7.mapping.documents import embedded
from services.interop.edge.hl7.mapping.reading import (
    Mapped,
    Reading,
    as_code,
    as_id,
    line,
    numbered,
)
from services.interop.edge.hl7.mapping.visit import visit_number
from services.interop.edge.hl7.message import Group, Segment
from services.interop.edge.hl7.refused import ErrorCode
from services.interop.edge.profile import Availability, DocumentKind
from services.interop.edge.report_status import (
    CORRECTED,
    READY,
    WITHDRAWN,
    is_too_large,
    settled,
)

#: Before a document's number, which is counted apart from reports'.
_PREFIX: Final = "document:"


def _document(
    reading: Reading,
    *,
    content: bool,
    changes: bool = False,
    edited: bool = False,
    replaces: bool = False,
) -> Mapped:
    """``changes``: the document was told before; ``edited``: and says something else now."""
    patient_id = reading.patient_id(the_patient(reading))
    (group, *more) = reading.message.need_groups("TXA")
    if more:
        raise more[0].head.refused(0, ErrorCode.SEGMENT_SEQUENCE, "one document in a message")
    txa = group.head
    report_id = numbered(txa, 12, prefix=_PREFIX)
    header = reading.message.header
    places = ((txa, 8), (header, 7)) if changes else ((txa, 7), (txa, 6), (header, 7))
    at = reading.moment(places)
    kind = _kind(reading, txa)
    if kind.kind is None:
        reading.note("not_used", txa, 2, "no document that patients are told of")
        return Mapped((), patient_id)
    found = results.read(reading, Group(txa, group.segments))
    status = settled(_status(reading, txa), found.statuses)
    if status in WITHDRAWN:
        gone = ReportWithdrawn(report_id=report_id, patient_id=patient_id, withdrawn_at=at)
        return Mapped((gone,), patient_id)
    if not content or status not in READY | CORRECTED:
        why = "without its content" if not content else f"{status}: not to be read yet"
        reading.note("not_used", txa, 17, why)
        return Mapped((), patient_id)
    events: list[Event] = []
    if replaces and txa.text(13) is not None:
        before = numbered(txa, 13, prefix=_PREFIX)
        if before != report_id:
            events.append(ReportWithdrawn(report_id=before, patient_id=patient_id, withdrawn_at=at))
    if (edited or replaces) and status in (ReportStatus.FINAL, ReportStatus.APPENDED):
        status = ReportStatus.CORRECTED
    observations, conclusion = found.told(reading, txa, narrative=True)
    obr, department = reading.message.first("OBR"), reading.department()
    orderer = _orderer(reading, txa, obr)
    documents = embedded(reading, found.documents, patient_id, department, orderer)
    if not (observations or conclusion or documents):
        reading.note("not_used", txa, 0, "nothing in it that could be read")
        return Mapped(tuple(events), patient_id)
    made = ReportCorrected if status in CORRECTED else ReportReady
    event = made(
        report_id=report_id,
        patient_id=patient_id,
        kind=kind.kind,
        code=code_of(reading, obr) if obr else as_code(txa.need(2), txa, 2),
        title=_title(txa, obr, kind),
        status=status,
        critical=found.critical,
        hold=_hold(reading, txa),
        ordering_practitioner_id=orderer,
        department_code=department.code if department else None,
        encounter_id=visit_number(reading),
        effective_at=types.moment(txa, 4, reading.zone) or found.effective_at,
        issued_at=at,
        observations=observations,
        conclusion=conclusion,
        documents=documents,
    )
    if is_too_large(event):
        raise txa.refused(0, ErrorCode.DATA_TYPE, "the report is larger than an event may be")
    return Mapped((*events, event), patient_id)


def _kind(reading: Reading, txa: Segment) -> DocumentKind:
    table = reading.profile.tables.document_kind
    unknown = DocumentKind(kind=ReportKind.OTHER)
    return reading.meaning(table, txa.need(2), (txa, 2), unknown, "document type")


def _status(reading: Reading, txa: Segment) -> ReportStatus:
    tables = reading.profile.tables
    code = txa.need(17)
    status = reading.meaning(
        tables.document_status, code, (txa, 17), ReportStatus.UNKNOWN, "document status"
    )
    there = txa.text(19)
    if there is None:
        return status
    meant = reading.meaning(
        tables.document_availability,
        there,
        (txa, 19),
        Availability.AVAILABLE,
        "document availability",
    )
    if meant is Availability.GONE:
        return ReportStatus.CANCELLED
    return ReportStatus.REGISTERED if meant is Availability.UNAVAILABLE else status


def _cancelled(reading: Reading) -> Mapped:
    patient_id, txa = reading.patient_id(the_patient(reading)), reading.message.need("TXA")
    event = ReportWithdrawn(
        report_id=numbered(txa, 12, prefix=_PREFIX),
        patient_id=patient_id,
        withdrawn_at=reading.moment(((txa, 8), (reading.message.header, 7))),
    )
    return Mapped((event,), patient_id)


def _title(txa: Segment, obr: Segment | None, kind: DocumentKind) -> str:
    told = (
        txa.text(25),
        types.coded_text(obr.value(4)) if obr else None,
        kind.title,
        txa.text(2, 2),
    )
    return next((found for text in told if (found := line(text))), None) or txa.need(2)[:256]


def _hold(reading: Reading, txa: Segment) -> Hold:
    held = txa.text(18) in reading.profile.documents.held
    return Hold(on=held, reason="confidential" if held else None)


def _orderer(reading: Reading, txa: Segment, obr: Segment | None) -> str | None:
    """Who ordered it, else who wrote it."""
    ordered = orderer_of(reading, obr) if obr else None
    writer = txa.text(9)
    return ordered or (as_id(writer, txa, 9) if writer else None)


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {
    "T01": partial(_document, content=False),
    "T02": partial(_document, content=True),
    "T03": partial(_document, content=False, changes=True),
    "T04": partial(_document, content=True, changes=True),
    "T05": partial(_document, content=False),
    "T06": partial(_document, content=True),
    "T07": partial(_document, content=False, changes=True),
    "T08": partial(_document, content=True, changes=True, edited=True),
    "T09": partial(_document, content=False),
    "T10": partial(_document, content=True, replaces=True),
    "T11": _cancelled,
}
