"""What do results' messages (ORU^R01) tell? Each OBR with its OBX is a report of its own.

The stricter of OBR-25 and OBX-11 holds (``edge/report_status.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from libs.common.events import (
    Event,
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
    Distinct,
    Mapped,
    Reading,
    line,
    numbered,
)
from services.interop.edge.hl7.mapping.visit import visit_number
from services.interop.edge.hl7.message import Group, Segment
from services.interop.edge.hl7.refused import ErrorCode
from services.interop.edge.profile import LineStatus
from services.interop.edge.report_status import (
    CORRECTED,
    READY,
    SETTLED,
    WITHDRAWN,
    is_too_large,
    settled,
)


def reported(reading: Reading) -> Mapped:
    pid = the_patient(reading)
    patient_id = reading.patient_id(pid)
    groups = reading.message.need_groups("OBR")
    ids = Distinct()
    events = [_report(reading, group, patient_id, ids) for group in groups]
    return Mapped(tuple(e for e in events if e is not None), patient_id)


def _report(reading: Reading, group: Group, patient_id: str, ids: Distinct) -> Event | None:
    obr, found = group.head, results.read(reading, group)
    status = _status(reading, obr, found.statuses)
    report_id = _report_id(reading, group)
    issued = reading.moment(((obr, 22), (reading.message.header, 7)))
    if status in WITHDRAWN | READY | CORRECTED:
        ids.of(report_id, obr, 3 if obr.text(3) else 2)
    if status in WITHDRAWN:
        return ReportWithdrawn(report_id=report_id, patient_id=patient_id, withdrawn_at=issued)
    if status not in READY | CORRECTED:
        reading.note("not_used", obr, 25, f"{status}: no result yet, no event")
        return None
    kind = _kind(reading, obr)
    observations, conclusion = found.told(reading, obr, narrative=kind in results.NARRATIVE)
    department = reading.department()
    orderer = orderer_of(reading, obr)
    made = ReportCorrected if status in CORRECTED else ReportReady
    event = made(
        report_id=report_id,
        patient_id=patient_id,
        kind=kind,
        code=code_of(reading, obr),
        title=line(types.coded_text(obr.value(4))) or obr.need(4),
        status=status,
        critical=found.critical,
        ordering_practitioner_id=orderer,
        department_code=department.code if department else None,
        encounter_id=visit_number(reading),
        effective_at=types.moment(obr, 7, reading.zone) or found.effective_at,
        issued_at=issued,
        observations=observations,
        conclusion=conclusion,
        documents=embedded(reading, found.documents, patient_id, department, orderer),
    )
    if is_too_large(event):
        raise obr.refused(0, ErrorCode.DATA_TYPE, "the report is larger than an event may be")
    return event


def _status(reading: Reading, obr: Segment, lines: Collection[LineStatus | None]) -> ReportStatus:
    code = obr.text(25)
    told = ReportStatus.FINAL
    if code is not None:
        table = reading.profile.tables.result_status
        told = reading.meaning(table, code, (obr, 25), ReportStatus.UNKNOWN, "result status")
    elif not any(lines):
        raise obr.missing(25)
    found = settled(told, lines)
    if (
        code is not None
        and told in SETTLED
        and found in (ReportStatus.PARTIAL, ReportStatus.PRELIMINARY)
    ):
        reading.note("not_all_final", obr, 25, "final as a whole, but not every line is")
    return found


def _report_id(reading: Reading, group: Group) -> str:
    """The filler's number and what was asked for: many laboratories give all that is done
    on one specimen the same number. By the profile the specimen, too."""
    obr, rule = group.head, reading.profile.reports
    number = 3 if obr.text(3) else 2
    if obr.text(number) is None:
        raise obr.missing(3, "neither the filler's nor the placer's order number")
    if number == 2:
        reading.note("placer_number", obr, 3, "no filler's number: the placer's (OBR-2)")
    spm = group.first("SPM") if rule.id_with_specimen else None
    specimen = (spm.text(2, 2) or spm.text(2)) if spm is not None else None
    return numbered(obr, number, obr.need(4), specimen, prefix=rule.id_prefix)


def _kind(reading: Reading, obr: Segment) -> ReportKind:
    code = obr.text(24)
    default = reading.profile.defaults.report_kind
    if code is not None:
        table = reading.profile.tables.report_kind
        return reading.meaning(table, code, (obr, 24), default or ReportKind.OTHER, "section")
    if default is None:
        raise obr.missing(24)
    reading.note("defaulted", obr, 24, "no section: the profile's default")
    return default


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {"R01": reported}
