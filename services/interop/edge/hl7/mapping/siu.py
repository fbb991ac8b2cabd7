"""What do appointments (SIU^S12 to S17, S26) tell? Of an examination its time and place, or that
it is off; of a visit, that the patient was seen, once the appointment says so, or was not.

An appointment that names an order (SCH-26, SCH-27) is about that order's examination, under the
id that the order gave it; any other has the appointment's own number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from libs.common.events import (
    Event,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
)
from services.interop.domain.exam import Booking
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.asked import the_patient
from services.interop.edge.hl7.mapping.orders import known_service
from services.interop.edge.hl7.mapping.reading import (
    AHEAD,
    Distinct,
    Mapped,
    Reading,
    as_code,
    line,
    numbered,
)
from services.interop.edge.hl7.mapping.supply import DAYS
from services.interop.edge.hl7.mapping.visit import (
    class_of,
    class_of_wrong,
    completed,
    names_a_visit,
    taken_back,
    visit_number,
)
from services.interop.edge.hl7.message import Segment
from services.interop.edge.profile import Appointment, FillerStatus

#: Before an appointment's own number, which is counted apart from orders'.
_PREFIX: Final = "appointment:"
#: NTE-4 (table 0364): instructions for the patient.
_FOR_PATIENT: Final = "PI"
#: What takes an appointment away, and the reason that the event gives.
_CANCELS: Final[Mapping[FillerStatus, str | None]] = {
    FillerStatus.CANCELLED: None,
    FillerStatus.NO_SHOW: "no_show",
    FillerStatus.ENTERED_IN_ERROR: "entered_in_error",
    FillerStatus.DISCONTINUED: "discontinued",
}


class _Service(NamedTuple):
    """One service of the appointment; ``ais`` is absent where it is only cancelled."""

    exam_id: str
    ais: Segment | None
    notes: tuple[Segment, ...] = ()


def _appointed(reading: Reading, says: FillerStatus, *, changed: bool = False) -> Mapped:
    patient_id = reading.patient_id(the_patient(reading))
    sch = reading.message.need("SCH")
    status = _status(reading, sch, says)
    at = reading.moment(((reading.message.header, 7),))
    meant = _meant(reading, sch, cancelled=status in _CANCELS)
    if meant is Appointment.VISIT:
        return Mapped(tuple(_visit(reading, sch, patient_id, status, at)), patient_id)
    if meant is Appointment.OTHER:
        reading.note("not_used", sch, 8, "neither an examination nor a visit")
        return Mapped((), patient_id)
    if status in (FillerStatus.NOT_YET, FillerStatus.COMPLETE):
        reading.note("not_used", sch, 25, f"{status}: no news of an examination to come")
        return Mapped((), patient_id)
    events: list[Event] = []
    for service in _services(reading, sch):
        if status in _CANCELS:
            events.append(
                ExamCancelled(
                    exam_id=service.exam_id,
                    patient_id=patient_id,
                    cancelled_at=at,
                    reason=_CANCELS[status],
                )
            )
        elif service.ais is not None:
            made = ExamRescheduled if changed else ExamScheduled
            events.append(_plan(reading, made, service, service.ais, patient_id, at))
    if not events:
        reading.note("not_used", sch, 0, "no service (AIS): what is planned is not known")
    # By its bare numbers: their namespaces come and go, and a wrong "another" would keep a
    # cancelled appointment.
    placer, filler = (sch.text(number) for number in (1, 2))
    booking = Booking(placer=placer and placer[:128], filler=filler and filler[:128])
    return Mapped(tuple(events), patient_id, booking=booking)


def _status(reading: Reading, sch: Segment, says: FillerStatus) -> FillerStatus:
    """What the trigger says, if that takes the appointment away; else what SCH-25 says."""
    code, table = sch.text(25), reading.profile.tables.filler_status
    if says in _CANCELS or code is None:
        return says
    return reading.meaning(table, code, (sch, 25), says, "filler status")


def _meant(reading: Reading, sch: Segment, *, cancelled: bool) -> Appointment:
    """By SCH-8, else by the services: one of the catalogue's, or one that was ordered, is an
    examination; with no service at all it is a visit. A cancellation often repeats none, and
    that of an examination that nobody has heard of does no harm."""
    table = reading.profile.tables.appointment
    code = sch.text(8)
    if code is not None and (found := table.codes.get(code)) is not None:
        return found
    services = [known_service(reading, ais, 3) for ais in reading.message.all("AIS")]
    if any(s is not None and s.kind is not None for s in services):
        return Appointment.EXAM
    if services and all(s is not None for s in services):
        return Appointment.OTHER  # known, and no examination
    if sch.text(26) or sch.text(27):
        return Appointment.EXAM
    if services:
        return reading.profile.exams.appointment
    return Appointment.EXAM if cancelled else Appointment.VISIT


def _visit(
    reading: Reading, sch: Segment, patient_id: str, status: FillerStatus, at: datetime
) -> Iterator[Event]:
    pv1 = reading.message.first("PV1")
    if pv1 is None or status not in (FillerStatus.COMPLETE, *_CANCELS):
        reading.note("not_used", sch, 25, "a visit counts when it is complete, and has a PV1")
        return
    cancels = status in _CANCELS
    visit_class = (class_of_wrong if cancels else class_of)(reading, pv1)
    if visit_class is None or not names_a_visit(reading, pv1):
        reading.note("not_used", pv1, 19, "names neither a visit nor its class")
        return
    if cancels:
        yield taken_back(reading, patient_id, _CANCELS[status])
        return
    begin, _ = _times(reading, sch, reading.message.first("AIS"))
    seen = begin if begin is not None and begin <= reading.now + AHEAD else at
    yield completed(reading, patient_id, visit_class, seen)


def _services(reading: Reading, sch: Segment) -> Iterator[_Service]:
    """Each AIS with its id: the order's at its place in SCH-26 (or SCH-27), else the
    appointment's number, with the service's code from the second one on."""
    ids, enough = Distinct(), reading.profile.exams.number_is_enough
    number = 26 if sch.text(26) else 27
    orders = sch.values(number)
    services: list[Segment | None] = list(reading.message.all("AIS"))
    services += [None] * (len(orders) - len(services))
    if not services:
        reading.note("services_not_named", sch, 0, "of several, only the first can be meant")
        services = [None]
    for n, ais in enumerate(services):
        service = known_service(reading, ais, 3) if ais is not None else None
        if service is not None and service.kind is None:
            continue
        code = ais.text(3) if ais is not None else None
        if n < len(orders):
            id = numbered(sch, number, None if enough else code, value=orders[n])
        else:
            own = 2 if sch.text(2) else 1
            id = numbered(sch, own, code if n else None, prefix=_PREFIX)
        segment, place = (ais, 3) if ais is not None else (sch, number)
        yield _Service(ids.of(id, segment, place), ais, _notes(reading, ais))


def _notes(reading: Reading, ais: Segment | None) -> tuple[Segment, ...]:
    """The NTE that follow a service."""
    found: list[Segment] = []
    for segment in reading.message.segments[ais.position + 1 :] if ais is not None else ():
        if segment.name != "NTE":
            break
        found.append(segment)
    return tuple(found)


def _plan(
    reading: Reading,
    made: type[ExamScheduled] | type[ExamRescheduled],
    service: _Service,
    ais: Segment,
    patient_id: str,
    at: datetime,
) -> Event:
    known = known_service(reading, ais, 3)
    begin, end = _times(reading, reading.message.need("SCH"), ais)
    told = [n.text(3) for n in service.notes if n.text(4) == _FOR_PATIENT]
    return made(
        exam_id=service.exam_id,
        patient_id=patient_id,
        kind=(known and known.kind) or ReportKind.OTHER,  # as the order said, if there was one
        code=as_code(ais.need(3), ais, 3),
        title=(known and known.title) or line(types.coded_text(ais.value(3))) or ais.need(3),
        starts_at=begin,
        ends_at=end,
        location=_location(reading, ais),
        encounter_id=visit_number(reading),
        instructions=line(" ".join(t for t in told if t)),
        scheduled_at=at,
    )


def _times(
    reading: Reading, sch: Segment, ais: Segment | None
) -> tuple[datetime | None, datetime | None]:
    """When it begins and ends: AIS-4 and AIS-7, TQ1, or the old SCH-11 (quantity/timing)."""
    zone, begin = reading.zone, None
    length: timedelta | None = None
    if ais is not None:
        begin = types.moment(ais, 4, zone)
        length = _length(ais.text(7), ais.text(8))
    end = begin + length if begin is not None and length is not None else None
    if begin is None and (tq1 := reading.message.first("TQ1")) is not None:
        begin, end = types.moment(tq1, 7, zone), types.moment(tq1, 8, zone)
    if begin is None and (old := sch.text(11, 4)) is not None:
        begin = types.moment_of(old, zone, sch, 11)
    return begin, end if begin and end and end > begin else None


def _length(amount: str | None, unit: str | None) -> timedelta | None:
    number, days = types.number_of(amount or ""), DAYS.get((unit or "MIN").upper())
    if number is None or days is None or not 0 < number * days < 366:
        return None
    return timedelta(days=number * days)


def _location(reading: Reading, ais: Segment) -> str | None:
    """The place (AIL-3, PL) of the service's group: facility, building, floor, ward, room."""
    for segment in reading.message.segments[ais.position + 1 :]:
        if segment.name in ("RGS", "AIS"):
            break
        if segment.name == "AIL":
            value = segment.value(3)
            return line(" ".join(t for n in (4, 7, 8, 1, 2) if (t := value.text(n))))
    return None


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {
    "S12": partial(_appointed, says=FillerStatus.BOOKED),
    "S13": partial(_appointed, says=FillerStatus.BOOKED, changed=True),
    "S14": partial(_appointed, says=FillerStatus.BOOKED, changed=True),
    "S15": partial(_appointed, says=FillerStatus.CANCELLED),
    "S16": partial(_appointed, says=FillerStatus.DISCONTINUED),
    "S17": partial(_appointed, says=FillerStatus.ENTERED_IN_ERROR),
    "S26": partial(_appointed, says=FillerStatus.NO_SHOW),
}
