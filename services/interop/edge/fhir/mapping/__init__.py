"""Which events does a resource give? One table of types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Final

from pydantic import ValidationError

from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    DischargeCancelled,
    EncounterDischarged,
    Event,
    ExamRescheduled,
    ExamScheduled,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
    ReportCorrected,
    ReportReady,
    VisitCancelled,
    VisitCompleted,
)
from services.interop.edge.fhir.mapping import (
    clinical,
    dispenses,
    encounters,
    exams,
    medications,
    people,
    reports,
    staff,
)
from services.interop.edge.fhir.mapping.reading import Note, Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused

__all__ = ["Note", "Reading", "digest", "map_resource", "ordered"]


def _kept(_reading: Reading, _resource: Resource) -> Iterator[Event]:
    """Tells nothing itself: others refer to it."""
    return iter(())


MAPPED: Final[Mapping[str, Callable[[Reading, Resource], Iterator[Event]]]] = {
    "Patient": people.patient,
    "RelatedPerson": people.related,
    "Encounter": encounters.encounter,
    "DiagnosticReport": reports.report,
    "Observation": _kept,
    "MedicationRequest": medications.prescription,
    "MedicationDispense": dispenses.dispense,
    "Procedure": clinical.procedure,
    "Condition": clinical.condition,
    "AllergyIntolerance": clinical.allergy,
    "ServiceRequest": exams.order,
    "Appointment": exams.appointment,
    "Practitioner": staff.practitioner,
    "PractitionerRole": staff.role,
}

#: What a digest leaves out: a discharge is no other one because its patient has a new telephone,
#: a condition none because it was recorded again, and what is taken back is so once.
_LEFT_OUT: Final[Mapping[type[Event], set[str]]] = {
    EncounterDischarged: {"patient", "guardians"},
    DischargeCancelled: {"cancelled_at"},
    AdmissionCancelled: {"cancelled_at"},
    VisitCompleted: {"recorded_at"},
    VisitCancelled: {"cancelled_at"},
    ConditionRecorded: {"recorded_at"},
    AllergyRecorded: {"recorded_at"},
}
#: One fact, whether it is told for the first time or again.
_SAME: Final = {
    PatientRegistered: PatientUpdated.TYPE,
    PractitionerRegistered: PractitionerUpdated.TYPE,
    ExamScheduled: ExamRescheduled.TYPE,
    ReportReady: "report",
    ReportCorrected: "report",
}


def map_resource(reading: Reading, resource: Resource) -> list[Event]:
    """What ``resource`` tells. Raises :class:`Refused` and nothing else."""
    resource.model  # has it FHIR's form at all?  # noqa: B018
    _still_theirs(reading, resource)
    try:
        return list(MAPPED.get(resource.type, _kept)(reading, resource))
    except ValidationError as error:
        # Our own mistake, not the sender's; the place, as the error's values are personal.
        places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        text = f"no {error.title}: {places}"
        raise Refused(resource.place, Issue.EXCEPTION, text[:250]) from None


#: Nobody who reads them moves them to another patient. (A report is moved by its readers.)
_ONE_PATIENTS: Final = frozenset(
    {
        "Encounter",
        "MedicationRequest",
        "MedicationDispense",
        "ServiceRequest",
        "Procedure",
        "Condition",
    }
)


def _still_theirs(reading: Reading, resource: Resource) -> None:
    """What was filed under the wrong patient is taken back there: else it would stand there."""
    earlier = resource.earlier() if resource.type in _ONE_PATIENTS else None
    if earlier is None or resource.model.subject is None:
        return
    now = reading.known.lasting(resource.raw["subject"])
    if now.get("reference") != earlier.raw.get("subject", {}).get("reference"):
        patient_id, _ = reading.patient(resource.model.subject, resource, "subject")
        reading.same_patient(earlier, patient_id, resource.at("subject"))


def digest(events: Iterable[Event], recorded: datetime) -> str:
    """The same for the same facts, whenever they are told. A time that equals ``recorded``
    is one that the sender has not given."""
    whole = blake2b(digest_size=16)
    for event in events:
        left = {name for name, value in event if value == recorded}
        left |= _LEFT_OUT.get(type(event), set())
        whole.update(_SAME.get(type(event), event.TYPE).encode())
        whole.update(event.model_dump_json(exclude=left).encode())
    return whole.hexdigest()


#: Which field says when it happened, where the order of facts matters.
_WHEN: Final = (
    "discharged_at",
    "admitted_at",
    "occurred_at",
    "issued_at",
    "performed_at",
    "recorded_at",
    "stopped_at",
    "withdrawn_at",
    "cancelled_at",
    "scheduled_at",
)
#: Who somebody is comes before what happened to them.
_FIRST: Final = {"hospital.staff": 0, "hospital.patients": 1}


def ordered(events: Iterable[Event]) -> list[Event]:
    """People first, then their merges, then by the time at which it happened."""

    def place(event: Event) -> tuple[int, float]:
        first = _FIRST.get(event.TOPIC, 3)
        if isinstance(event, PatientMerged):
            return 2, 0.0
        if first < 3:
            return first, 0.0
        moments = (getattr(event, name, None) for name in _WHEN)
        when = next((m for m in moments if isinstance(m, datetime)), None)
        return first, when.timestamp() if when else 0.0

    return sorted(events, key=place)
