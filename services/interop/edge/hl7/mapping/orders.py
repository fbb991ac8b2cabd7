"""What do orders of examinations (ORM^O01, OMG^O19, OMI^O23, OML^O21) tell? Each OBR with what
its ORC says is an examination that is planned, changed or cancelled.

Its id is the order's number, the placer's where there is one: it is known first, and stands in
the appointment and on the report as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from libs.common.events import (
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
)
from libs.common.events.exams import ExamFact
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.asked import code_of, orderer_of, the_patient
from services.interop.edge.hl7.mapping.reading import Distinct, Mapped, Reading, line, numbered
from services.interop.edge.hl7.mapping.visit import visit_number
from services.interop.edge.hl7.message import Group, Segment
from services.interop.edge.profile import ExamControl, ExamOf

_CANCELLED: Final = ExamControl.CANCELLED
#: What else is ordered: medicines, diets, supplies, blood.
_DETAILS: Final = frozenset({"RXO", "RXE", "ODS", "ODT", "RQD", "RQ1", "BPO"})


def ordered(reading: Reading) -> Mapped:
    patient_id = reading.patient_id(the_patient(reading))
    gone, going_on = Distinct(), Distinct()
    events: list[ExamFact] = []
    for group in reading.message.need_groups("ORC"):
        control = _control(reading, group.head)
        ids = gone if control is _CANCELLED else going_on
        events += _order(reading, group, control, patient_id, ids)
    # A filler replaces an order under the same number (RU, then RO): it goes on as another one.
    on = {e.exam_id for e in events if not isinstance(e, ExamCancelled)}
    told = (e for e in events if not isinstance(e, ExamCancelled) or e.exam_id not in on)
    return Mapped(tuple(told), patient_id)


def _order(
    reading: Reading, group: Group, control: ExamControl, patient_id: str, ids: Distinct
) -> Iterator[ExamFact]:
    orc = group.head
    if control is ExamControl.UNUSED:
        reading.note("not_used", orc, 1, "neither plans an examination nor cancels one")
        return
    at = reading.moment(((orc, 9), (reading.message.header, 7)))
    if group.first("OBR") is None:
        bare = not any(s.name in _DETAILS for s in group.segments)
        if control is _CANCELLED and bare and reading.profile.exams.number_is_enough:
            number = 2 if orc.text(2) else 3
            id = ids.of(numbered(orc, number), orc, number)
            yield ExamCancelled(exam_id=id, patient_id=patient_id, cancelled_at=at)
        else:
            reading.note("not_used", orc, 0, "no OBR: no examination is ordered")
        return
    for obr in group.all("OBR"):
        service = known_service(reading, obr, 4)
        kind = _kind(reading, obr, service)
        if kind is None:
            reading.note("not_used", obr, 24 if service is None else 4, "nothing to come for")
            continue
        id = _exam_id(reading, orc, obr, ids)
        if control is _CANCELLED:
            yield ExamCancelled(exam_id=id, patient_id=patient_id, cancelled_at=at)
            continue
        begin, end = _times(reading, group, obr)
        made = ExamRescheduled if control is ExamControl.RESCHEDULED else ExamScheduled
        yield made(
            exam_id=id,
            patient_id=patient_id,
            kind=kind,
            code=code_of(reading, obr),
            title=(service and service.title)
            or line(types.coded_text(obr.value(4)))
            or obr.need(4),
            starts_at=begin,
            ends_at=end,
            ordering_practitioner_id=orderer_of(reading, obr),
            encounter_id=visit_number(reading),
            scheduled_at=at,
        )


def _control(reading: Reading, orc: Segment) -> ExamControl:
    tables, code = reading.profile.tables, orc.need(1)
    found = reading.meaning(
        tables.exam_control, code, (orc, 1), ExamControl.UNUSED, "order control"
    )
    status = orc.text(5)
    if found is not ExamControl.BY_STATUS:
        return found
    if status is None:
        return ExamControl.UNUSED
    return reading.meaning(
        tables.order_status, status, (orc, 5), ExamControl.UNUSED, "order status"
    )


def known_service(reading: Reading, segment: Segment, number: int) -> ExamOf | None:
    """What the site's catalogue says of the service in a field; ``None``: not in it."""
    codes = reading.profile.tables.exam.codes
    for coded in types.codings(segment.value(number)):
        system = (coded.system or "").upper()
        found = codes.get(f"{system}|{coded.code}") or codes.get(coded.code)
        if found is not None:
            return found
    return None


def _kind(reading: Reading, obr: Segment, service: ExamOf | None) -> ReportKind | None:
    """The kind of the examination; ``None``: the order is for something else."""
    if service is not None:
        return service.kind
    table, section = reading.profile.tables.report_kind, obr.text(24)
    unknown = reading.profile.defaults.report_kind or ReportKind.OTHER
    if section is None:
        reading.note("defaulted", obr, 24, "no section: the profile's default")
        return unknown
    found = reading.meaning(table, section, (obr, 24), unknown, "section")
    is_known = not {section, section.upper()}.isdisjoint(table.codes)
    return None if is_known and found not in reading.profile.exams.kinds else found


def _exam_id(reading: Reading, orc: Segment, obr: Segment, ids: Distinct) -> str:
    content = None if reading.profile.exams.number_is_enough else obr.need(4)
    for segment, number in ((obr, 2), (orc, 2), (obr, 3), (orc, 3)):
        if segment.text(number) is not None:
            return ids.of(numbered(segment, number, content), segment, number)
    raise orc.missing(2, "no order number")


def _times(reading: Reading, group: Group, obr: Segment) -> tuple[datetime | None, datetime | None]:
    """When it begins and ends: TQ1, OBR-36, or the old OBR-27 (quantity/timing)."""
    begin, end = types.moment(obr, 36, reading.zone), None
    if (tq1 := group.first("TQ1")) is not None:
        begin = begin or types.moment(tq1, 7, reading.zone)
        end = types.moment(tq1, 8, reading.zone)
    if begin is None and (old := obr.text(27, 4)) is not None:
        begin = types.moment_of(old, reading.zone, obr, 27)
    return begin, end if begin and end and end > begin else None


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {"O01": ordered}
OMG: Final[Mapping[str, Callable[[Reading], Mapped]]] = {"O19": ordered}
OMI: Final[Mapping[str, Callable[[Reading], Mapped]]] = {"O23": ordered}
OML: Final[Mapping[str, Callable[[Reading], Mapped]]] = {"O21": ordered}
