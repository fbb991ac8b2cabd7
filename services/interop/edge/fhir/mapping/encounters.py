"""What does an Encounter tell?

A stay that began was admitted to, one that ended is a discharge, and everybody who was seen
made a visit. What is taken back was told before, or is remembered for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from libs.common.events import (
    AdmissionCancelled,
    Attending,
    Diagnosis,
    DiagnosisUse,
    DischargeCancelled,
    Disposition,
    EncounterAdmitted,
    EncounterDischarged,
    Event,
    Guardian,
    PatientSnapshot,
    Procedure,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from services.interop.domain.stay import UNKNOWN_DISCHARGE
from services.interop.edge.fhir.mapping import clinical, people, visits
from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused

#: Encounter.status of a stay that has begun and not ended.
_WITHIN: Final = frozenset({"arrived", "triaged", "in-progress", "onleave"})
_TAKEN_BACK: Final = frozenset({"cancelled", "entered-in-error"})
_STATUSES: Final = _WITHIN | _TAKEN_BACK | {"planned", "finished", "unknown"}
#: Participant.type (v3-ParticipationType), the responsible one first.
_RESPONSIBLE: Final = ("ATND", "PPRF", "DIS", "ADM")
#: What one event holds of each; the rest is noted.
_MOST: Final = 64
_MOST_GUARDIANS: Final = 16


def encounter(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    if model.status not in _STATUSES:
        raise Refused(resource.at("status"), Issue.CODE_INVALID, "no status of an Encounter")
    kind = visits.class_of(reading, resource)
    patient_id, patient = reading.patient(model.subject, resource, "subject")
    id = visits.encounter_id(reading, resource)
    if kind is None or model.status in ("planned", "unknown"):
        reading.note("not_used", resource.at("status"), f"{model.status}: no event")
        return
    at = _taken_back_at(reading, resource)
    reopened = model.status in _WITHIN and _was_finished(resource)
    if model.status in _TAKEN_BACK or reopened:
        if kind is VisitClass.INPATIENT:
            yield DischargeCancelled(
                encounter_id=id,
                patient_id=patient_id,
                discharge_event_id=UNKNOWN_DISCHARGE,
                cancelled_at=at,
            )
        yield VisitCancelled(visit_id=id, patient_id=patient_id, visit_class=kind, cancelled_at=at)
    if kind is not VisitClass.INPATIENT:
        if model.status == "finished":
            yield _completed(reading, resource, kind, id, patient_id)
        return
    if model.status in _TAKEN_BACK:
        yield AdmissionCancelled(encounter_id=id, patient_id=patient_id, cancelled_at=at)
    elif model.status in _WITHIN:
        start = model.period.start if model.period else None
        yield EncounterAdmitted(
            encounter_id=id,
            patient_id=patient_id,
            department=reading.department(resource),
            attending=attending(reading, resource),
            admitted_at=reading.moment(resource, [("period.start", start)]),
        )
    else:
        if patient is None:
            text = "send the Patient in the same bundle or before: a discharge has their record"
            raise Refused(resource.at("subject"), Issue.NOT_FOUND, text)
        yield _discharged(reading, resource, id, patient_id, patient)
        yield _completed(reading, resource, kind, id, patient_id)


def _was_finished(resource: Resource) -> bool:
    earlier = resource.earlier()
    return earlier is not None and earlier.raw.get("status") == "finished"


def _recorded(reading: Reading, resource: Resource) -> datetime:
    """Of what comes after another form not before it came: clients send ``lastUpdated`` as they
    read it there."""
    at = reading.recorded(resource)
    return at if resource.before is None else max(at, reading.now)


def _taken_back_at(reading: Reading, resource: Resource) -> datetime:
    """Not before the discharge that it takes back."""
    earlier, at = resource.earlier(), _recorded(reading, resource)
    end = earlier.model.period.end if earlier is not None and earlier.model.period else None
    return max(at, min(reading.time(end) or at, reading.now))


def _end(reading: Reading, resource: Resource) -> datetime:
    period = resource.model.period
    found = reading.time(period.end) if period else None
    if found is None:
        raise Refused(resource.at("period.end"), Issue.REQUIRED, "required when finished")
    end = period.end
    if not isinstance(end, datetime) and (start := reading.time(period.start)):
        end = max(found, start)  # a day alone may be that of the admission
    return reading.moment(resource, [("period.end", end)])


def _completed(
    reading: Reading, resource: Resource, kind: VisitClass, id: str, patient_id: str
) -> VisitCompleted:
    """A visit took place when it began, a stay when it ended."""
    department = reading.department(resource)
    if department is None:
        raise _no_department(reading, resource)
    found = attending(reading, resource)
    period = resource.model.period
    if kind is VisitClass.INPATIENT:
        at = _end(reading, resource)
    else:
        places = [("period.start", period.start), ("period.end", period.end)] if period else []
        at = reading.moment(resource, places)
    return VisitCompleted(
        visit_id=id,
        patient_id=patient_id,
        visit_class=kind,
        department=department,
        practitioner_id=found.practitioner_id if found else None,
        occurred_at=at,
        recorded_at=_recorded(reading, resource),
    )


def _no_department(reading: Reading, resource: Resource) -> Refused:
    places = " or ".join(reading.profile.fhir.department_in)
    text = f"no department: neither {places} nor a default of the profile"
    return Refused(resource.at(reading.profile.fhir.department_in[0]), Issue.REQUIRED, text)


def _discharged(
    reading: Reading, resource: Resource, id: str, patient_id: str, patient: Resource
) -> EncounterDischarged:
    person = people.person(reading, patient)
    at = _end(reading, resource)
    department = reading.department(resource)
    if department is None:
        raise _no_department(reading, resource)
    period, kin = resource.model.period, people.guardians(reading, patient, at)
    guardians = [
        Guardian(person_id=k.person_id, relationship=k.relationship, **k.contact.model_dump())
        for k in kin
    ]
    return EncounterDischarged(
        encounter_id=id,
        patient_id=patient_id,
        patient=PatientSnapshot(
            **person.contact.model_dump(),
            birth_date=person.birth_date,
            gender=person.gender,
            deceased=person.deceased,
        ),
        guardians=tuple(guardians[:_MOST_GUARDIANS]),
        department=department,
        diagnoses=_first(
            reading, resource, list(diagnoses(reading, resource, patient_id)), "diagnoses"
        ),
        procedures=_first(
            reading, resource, list(_procedures(reading, resource, patient_id)), "procedures"
        ),
        attending=attending(reading, resource),
        admitted_at=reading.time(period.start),
        discharged_at=at,
        disposition=_disposition(reading, resource, person, at),
    )


def _first(reading: Reading, resource: Resource, found: list[Any], what: str) -> tuple[Any, ...]:
    if len(found) > _MOST:
        reading.note("left_out", resource.place, f"{len(found) - _MOST} {what} beyond {_MOST}")
    return tuple(found[:_MOST])


def _disposition(
    reading: Reading, resource: Resource, person: people.Person, at: datetime
) -> Disposition:
    path = "hospitalization.dischargeDisposition"
    stay = resource.model.hospitalization
    if stay is not None and stay.dischargeDisposition is not None:
        table, concept = reading.profile.tables.disposition, stay.dischargeDisposition
        place = resource.at(path)
        return reading.meaning(table, concept, place, Disposition.OTHER, "disposition")
    if person.deceased and (person.died_at is None or person.died_at <= at):
        return Disposition.DECEASED
    default = reading.profile.defaults.disposition
    if default is None:
        raise Refused(resource.at(path), Issue.REQUIRED, "required, and no default of the profile")
    reading.note("defaulted", resource.at(path), "no disposition: the profile's default")
    return default


def attending(reading: Reading, resource: Resource) -> Attending | None:
    """The responsible practitioner: by the participant's type, else the first one."""

    def rank(participant: Any) -> int:
        codes = [c.code for t in participant.type or () for c in reading.codings(t)]
        ranks = [_RESPONSIBLE.index(code) for code in codes if code in _RESPONSIBLE]
        return min(ranks, default=len(_RESPONSIBLE))

    numbered = list(enumerate(resource.model.participant or ()))
    for n, one in sorted(numbered, key=lambda pair: rank(pair[1])):
        path = f"participant[{n}].individual"
        found = reading.practitioner_of(one.individual, resource, path)
        if found is not None:
            id = reading.id_of(found, reading.profile.fhir.practitioner)
            return Attending(practitioner_id=id, name=people.name_of(found.model.name))
    return None


def diagnoses(reading: Reading, resource: Resource, patient_id: str) -> Iterator[Diagnosis]:
    """``diagnosis``, else the Conditions of this request that name the stay; and its reasons.
    In ICD-10 or by the profile's table; anything else is left out with a note."""
    counted: Counter[DiagnosisUse] = Counter()
    told: list[tuple[Any, str, DiagnosisUse, int | None]] = []
    for n, one in enumerate(resource.model.diagnosis or ()):
        path = f"diagnosis[{n}]"
        condition = reading.of(one.condition, resource, f"{path}.condition", "Condition")
        if condition is None:
            continue
        reading.same_patient(condition, patient_id, resource.at(f"{path}.condition"))
        if clinical.stands(condition):
            told.append((condition.model.code, path, _use(reading, resource, one, path), one.rank))
    if not told:
        told += [
            (condition.model.code, "diagnosis", DiagnosisUse.DISCHARGE, None)
            for condition in visits.of_visit(reading, resource, "Condition", patient_id)
            if clinical.stands(condition)
        ]
    for n, concept in enumerate(resource.model.reasonCode or ()):
        told.append((concept, f"reasonCode[{n}]", DiagnosisUse.ADMISSION, None))
    seen: set[tuple[str, DiagnosisUse]] = set()
    for concept, path, use, rank in told:
        found = clinical.icd10(reading, concept, resource.at(path))
        if found is None or (found[0], use) in seen:
            continue
        seen.add((found[0], use))
        counted[use] += 1
        place = rank if rank is not None and 1 <= rank <= 99 else min(counted[use], 99)
        yield Diagnosis(code=found[0], display=found[1], use=use, rank=place)


def _use(reading: Reading, resource: Resource, one: Any, path: str) -> DiagnosisUse:
    if one.use is None:
        return DiagnosisUse.DISCHARGE
    table, place = reading.profile.tables.diagnosis_use, resource.at(f"{path}.use")
    return reading.meaning(table, one.use, place, DiagnosisUse.OTHER, "diagnosis role")


def _procedures(reading: Reading, resource: Resource, patient_id: str) -> Iterator[Procedure]:
    """The completed Procedures of this request that name the stay."""
    for procedure in visits.of_visit(reading, resource, "Procedure", patient_id):
        if procedure.model.status != "completed":
            continue
        found = clinical.procedure_code(reading, procedure)
        yield Procedure(
            code=found.code,
            system=found.system,
            display=found.display,
            performed_at=clinical.performed_at(reading, procedure),
        )
