"""What do ServiceRequest and Appointment tell of examinations to come?

An order makes an examination known, an appointment gives it a time; both name it by the order,
as the report will. What is no examination by the profile's table of kinds tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from libs.common.events import (
    Department,
    Event,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
)
from services.interop.edge.fhir.mapping import visits
from services.interop.edge.fhir.mapping.medications import ORDERS
from services.interop.edge.fhir.mapping.reading import Reading, words_of
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.naming import line

#: ServiceRequest.status and Appointment.status -> whether it is planned (True), is not to be
#: (False), or neither (None).
_ORDERS: Final[dict[str, bool | None]] = {
    "draft": None,
    "active": True,
    "on-hold": None,
    "revoked": False,
    "completed": None,
    "entered-in-error": False,
    "unknown": None,
}
_APPOINTMENTS: Final[dict[str, bool | None]] = {
    "proposed": None,
    "pending": None,
    "booked": True,
    "arrived": None,
    "fulfilled": None,
    "cancelled": False,
    "noshow": False,
    "entered-in-error": False,
    "checked-in": None,
    "waitlist": None,
}


def order(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    planned = _standing(resource, _ORDERS)
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    kind = _kind(reading, model.category)
    if kind is None or planned is None or model.intent not in ORDERS or model.doNotPerform:
        text = f"{model.intent}, {model.status}: no examination that is planned or cancelled"
        reading.note("not_used", resource.place, text)
        return
    id = exam_id(reading, resource)
    if not planned:
        at = reading.recorded(resource)
        yield ExamCancelled(exam_id=id, patient_id=patient_id, cancelled_at=at)
        return
    code, title = reading.need_code(model.code, resource.at("code"))
    period = model.occurrencePeriod
    department, location = _where(
        reading,
        resource,
        [("performer", model.performer), ("locationReference", model.locationReference)],
    )
    stay = visits.visit(reading, resource, patient_id)
    made = ExamRescheduled if _was_planned(resource, _ORDERS) else ExamScheduled
    yield made(
        exam_id=id,
        patient_id=patient_id,
        kind=kind,
        code=code,
        title=line(title) or code,
        starts_at=reading.time(model.occurrenceDateTime or (period.start if period else None)),
        ends_at=reading.time(period.end) if period else None,
        department=department,
        location=location or _first_words(model.locationCode),
        ordering_practitioner_id=reading.practitioner(model.requester, resource, "requester"),
        encounter_id=visits.encounter_id(reading, stay) if stay else None,
        instructions=line(model.patientInstruction),
        scheduled_at=reading.recorded(resource),
    )


def appointment(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    planned = _standing(resource, _APPOINTMENTS)
    orders = [
        found
        for n, reference in enumerate(model.basedOn or ())
        if (found := reading.of(reference, resource, f"basedOn[{n}]", "ServiceRequest"))
    ]
    ordered = next((o for o in orders if _kind(reading, o.model.category)), None)
    kinds = [*(model.serviceCategory or ()), *(model.serviceType or ())]
    kind = _kind(reading, ordered.model.category) if ordered else _kind(reading, kinds)
    if kind is None or planned is None:
        text = f"{model.status}: no examination that is planned or cancelled"
        reading.note("not_used", resource.place, text)
        return
    patient_id = _patient_of(reading, resource, ordered)
    if ordered is not None:
        reading.same_patient(ordered, patient_id, resource.at("basedOn"))
    id = exam_id(reading, ordered or resource)
    if not planned:
        reason = "no_show" if model.status == "noshow" else None
        at = reading.recorded(resource)
        yield ExamCancelled(exam_id=id, patient_id=patient_id, cancelled_at=at, reason=reason)
        return
    if model.start is None:
        raise Refused(resource.at("start"), Issue.REQUIRED, "required when booked")
    concept = ordered.model.code if ordered else next(iter(model.serviceType or ()), None)
    code, title = reading.need_code(concept, resource.at("serviceType"))
    actors = [(f"participant[{n}].actor", p.actor) for n, p in enumerate(model.participant)]
    department, location = _where(reading, resource, actors)
    requester = ordered.model.requester if ordered else None
    stay = visits.visit(reading, ordered, patient_id) if ordered else None
    made = ExamRescheduled if _was_planned(resource, _APPOINTMENTS) else ExamScheduled
    yield made(
        exam_id=id,
        patient_id=patient_id,
        kind=kind,
        code=code,
        title=line(title) or code,
        starts_at=reading.time(model.start),
        ends_at=reading.time(model.end),
        department=department,
        location=location,
        ordering_practitioner_id=reading.practitioner(requester, ordered or resource, "requester"),
        encounter_id=visits.encounter_id(reading, stay) if stay else None,
        instructions=line(model.patientInstruction),
        scheduled_at=reading.recorded(resource),
    )


def exam_id(reading: Reading, resource: Resource) -> str:
    return reading.id_of(resource, reading.profile.fhir.exam)


def _standing(resource: Resource, statuses: dict[str, bool | None]) -> bool | None:
    status = resource.model.status
    if status not in statuses:
        text = f"no status of a {resource.type}"
        raise Refused(resource.at("status"), Issue.CODE_INVALID, text)
    return statuses[status]


def _was_planned(resource: Resource, statuses: dict[str, bool | None]) -> bool:
    earlier = resource.earlier()
    return earlier is not None and bool(statuses.get(earlier.raw.get("status", "")))


def _kind(reading: Reading, concepts: Iterable[Any] | None) -> ReportKind | None:
    for concept in concepts or ():
        found = reading.known_code(reading.profile.tables.report_kind, concept)
        if found is not None:
            return found[0]
    return None


def _patient_of(reading: Reading, resource: Resource, ordered: Resource | None) -> str:
    """The participant who is a Patient, else whom the order is for."""
    for n, one in enumerate(resource.model.participant):
        path = f"participant[{n}].actor"
        found = reading.of(one.actor, resource, path, "Patient")
        if found is not None:
            return reading.patient_id(found)
    if ordered is not None:
        return reading.patient(ordered.model.subject, ordered, "subject")[0]
    text = "no patient known among the participants"
    raise Refused(resource.at("participant"), Issue.NOT_FOUND, text)


def _where(
    reading: Reading, resource: Resource, actors: Iterable[tuple[str, Any]]
) -> tuple[Department | None, str | None]:
    """The department that examines, and where to come to."""
    department, location = None, None
    for path, reference in actors:
        for n, one in enumerate(reference if isinstance(reference, list) else [reference]):
            at = f"{path}[{n}]" if isinstance(reference, list) else path
            found = reading.of(one, resource, at, "Organization", "Location")
            if found is None:
                continue
            if found.type == "Location":
                location = location or line(found.model.name or found.model.description)
            elif department is None:
                told = list(reading.organisation(one, resource, at))
                department = reading.department_of(told, resource)
    return department, location


def _first_words(concepts: Iterable[Any] | None) -> str | None:
    return next((words for c in concepts or () if (words := words_of(c))), None)
