"""What do Condition, AllergyIntolerance and Procedure tell?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from libs.common.events import (
    AllergyCategory,
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    Criticality,
    Event,
    ProcedureCancelled,
    ProcedurePerformed,
    ProcedureScheduled,
    VerificationStatus,
)
from services.interop.edge import naming
from services.interop.edge.fhir.mapping import visits
from services.interop.edge.fhir.mapping.reading import Reading, words_of
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.profile import Identifier, OnUnknown

S = TypeVar("S", bound=StrEnum)

_OWN: Final = Identifier()
#: Verification of what is no diagnosis of the patient's.
_NOT_SO: Final = frozenset({"refuted", "entered-in-error"})


def stands(condition: Resource) -> bool:
    """Whether a Condition is one of the patient's, as far as anybody knows."""
    status = condition.model.verificationStatus
    codes = {c.code for c in (status.coding or ())} if status else set()
    return not codes & _NOT_SO


def icd10(reading: Reading, concept: Any, place: str) -> tuple[str, str | None] | None:
    """Code and words of a diagnosis in ICD-10, or by the profile's table; else ``None``."""
    systems, table = reading.profile.systems, reading.profile.tables.diagnosis
    codings = reading.codings(concept)
    for coded in codings:
        if coded.system in systems.icd10 and (found := naming.as_icd10(coded.code)):
            return found, naming.line(coded.text or words_of(concept))
    for coded in codings:
        mapped = table.codes.get(f"{coded.system}|{coded.code}")
        if mapped is not None:
            return mapped, naming.line(coded.text or words_of(concept))
    text = "neither ICD-10 nor in the profile's table: left out" if codings else "no code"
    if codings and table.unknown is OnUnknown.REFUSE:
        raise Refused(place, Issue.CODE_INVALID, text)
    reading.note("diagnosis_left_out", place, text)
    return None


def condition(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    found = icd10(reading, model.code, resource.at("code"))
    if found is None:
        return
    stay = visits.visit(reading, resource, patient_id)
    department = reading.department(stay) if stay else None
    onset = reading.time(model.onsetDateTime)
    yield ConditionRecorded(
        condition_id=reading.id_of(resource, _OWN),
        patient_id=patient_id,
        code=found[0],
        display=found[1],
        department_code=department.code if department else None,
        onset_on=onset.astimezone(reading.zone).date() if onset else None,
        **_record(reading, resource, stay),
    )


def allergy(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    patient_id, _ = reading.patient(model.patient, resource, "patient")
    substance = model.code
    words = words_of(substance)
    if words is None:
        raise Refused(resource.at("code"), Issue.REQUIRED, "required: to what")
    codings = reading.codings(substance)
    atc = reading.profile.systems.atc
    best = next((c for c in codings if c.system in atc), codings[0] if codings else None)
    manifestations = [words_of(m) for r in model.reaction or () for m in r.manifestation or ()]
    categories = list(model.category or ())
    yield AllergyRecorded(
        allergy_id=reading.id_of(resource, _OWN),
        patient_id=patient_id,
        code=reading.as_code(best.code, resource.at("code")) if best else None,
        system=naming.as_code(_system(best.system)) if best else None,
        display=words,
        category=_enum(AllergyCategory, categories[0], resource, "category")
        if categories
        else None,
        criticality=_enum(Criticality, model.criticality, resource, "criticality")
        if model.criticality
        else None,
        reaction=naming.line("；".join(m for m in manifestations if m)),
        **_record(reading, resource, visits.visit(reading, resource, patient_id)),
    )


def _system(name: str) -> str:
    """A code system by a name that fits: of an address its last part."""
    return name.rstrip("/").rpartition("/")[2] or "local"


def _record(reading: Reading, resource: Resource, stay: Resource | None) -> dict[str, Any]:
    """What conditions and allergies have in common."""
    model = resource.model
    recorder, path = model.recorder or model.asserter, "recorder" if model.recorder else "asserter"
    found: dict[str, Any] = {
        "encounter_id": visits.encounter_id(reading, stay) if stay else None,
        "practitioner_id": reading.practitioner(recorder, resource, path),
        "recorded_at": reading.moment(resource, [("recordedDate", model.recordedDate)])
        if resource.before is None
        else reading.recorded(resource),
    }
    for name, path, words in (
        ("clinical_status", "clinicalStatus", ClinicalStatus),
        ("verification_status", "verificationStatus", VerificationStatus),
    ):
        concept = getattr(model, path)
        codes = [c.code for c in reading.codings(concept)]
        if codes:
            found[name] = _enum(words, codes[0], resource, path)
    return found


def _enum(words: type[S], code: str, resource: Resource, path: str) -> S:
    try:
        return words(code)
    except ValueError:
        text = f"must be one of {', '.join(words)}"
        raise Refused(resource.at(path), Issue.CODE_INVALID, text) from None


# -- procedures -------------------------------------------------------------------------

#: Procedure.status -> what it is to us; ``None``: nothing.
_PROCEDURES: Final[dict[str, str | None]] = {
    "preparation": "scheduled",
    "in-progress": None,
    "on-hold": None,
    "stopped": None,
    "completed": "performed",
    "not-done": "cancelled",
    "entered-in-error": "cancelled",
    "unknown": None,
}


@dataclass(frozen=True, slots=True)
class ProcedureCode:
    code: str
    system: str
    display: str | None


def procedure_code(reading: Reading, resource: Resource) -> ProcedureCode:
    """The first coding, its system by the name that the profile has for it."""
    concept, names = resource.model.code, reading.profile.systems.procedures
    codings = reading.codings(concept)
    if not codings:
        raise Refused(resource.at("code.coding"), Issue.REQUIRED, "required, with a code")
    best = next((c for c in codings if c.system in names), codings[0])
    system = names.get(best.system) or naming.as_code(_system(best.system)) or "local"
    code = reading.as_code(best.code, resource.at("code"))
    return ProcedureCode(code, system, naming.line(best.text or words_of(concept)))


def performed_at(reading: Reading, resource: Resource) -> datetime | None:
    model = resource.model
    period = model.performedPeriod
    return reading.time(model.performedDateTime or (period.start if period else None))


def procedure(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    if model.status not in _PROCEDURES:
        raise Refused(resource.at("status"), Issue.CODE_INVALID, "no status of a Procedure")
    meant = _PROCEDURES[model.status]
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    if meant is None:
        reading.note("not_used", resource.at("status"), f"{model.status}: no event")
        return
    stay = visits.visit(reading, resource, patient_id)
    known = {
        "procedure_id": reading.id_of(resource, _OWN),
        "patient_id": patient_id,
        "encounter_id": visits.encounter_id(reading, stay) if stay else None,
    }
    at = performed_at(reading, resource)
    if meant == "cancelled":
        yield ProcedureCancelled(**known, cancelled_at=reading.recorded(resource))
        return
    found = procedure_code(reading, resource)
    actors = list(enumerate(model.performer or ()))
    content = {
        **known,
        "code": found.code,
        "system": found.system,
        "display": found.display,
        "department": reading.department(stay) if stay else None,
        "performer_id": next(
            (
                id
                for n, p in actors
                if (id := reading.practitioner(p.actor, resource, f"performer[{n}].actor"))
            ),
            None,
        ),
    }
    if meant == "scheduled":
        yield ProcedureScheduled(**content, starts_at=at, scheduled_at=reading.recorded(resource))
    else:
        places = [("performed", at)]
        yield ProcedurePerformed(**content, performed_at=reading.moment(resource, places))
