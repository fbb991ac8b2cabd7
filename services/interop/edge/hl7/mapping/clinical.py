"""Which diagnoses and allergies does a message about a patient tell (DG1, AL1, IAM)?

Senders repeat all of them in every message; who calls tells only what is news. A record's id is
the sender's (DG1-20, IAM-7), else what it is about: the same code is the same condition. What
stands in a message no longer is not taken back, as a list may be cut: only an action code does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from libs.common.events import (
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    Criticality,
    Event,
    VerificationStatus,
)
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.diagnoses import icd10
from services.interop.edge.hl7.mapping.reading import Reading, as_code, as_id, derived_id, line
from services.interop.edge.hl7.mapping.visit import visit_number
from services.interop.edge.hl7.message import Segment
from services.interop.edge.profile import AllergyStanding

#: DG1-21 and IAM-6 (tables 0206, 0323).
_DELETED: Final = "D"
_STANDINGS: Final = {
    AllergyStanding.CONFIRMED: (ClinicalStatus.ACTIVE, VerificationStatus.CONFIRMED),
    AllergyStanding.UNCONFIRMED: (ClinicalStatus.ACTIVE, VerificationStatus.UNCONFIRMED),
    AllergyStanding.INACTIVE: (ClinicalStatus.INACTIVE, VerificationStatus.CONFIRMED),
    AllergyStanding.ERRONEOUS: (ClinicalStatus.INACTIVE, VerificationStatus.ENTERED_IN_ERROR),
}


def recorded(reading: Reading, patient_id: str, at: datetime) -> Iterator[Event]:
    """``at``: since when the record is so."""
    yield from _conditions(reading, patient_id, at)
    yield from _allergies(reading, patient_id, at)


def _conditions(reading: Reading, patient_id: str, at: datetime) -> Iterator[Event]:
    found: dict[str, ConditionRecorded] = {}
    for dg1 in reading.message.all("DG1"):
        deleted = dg1.text(21) == _DELETED
        code = icd10(reading, dg1)
        if code is None:
            continue
        certainty = VerificationStatus.CONFIRMED
        if deleted:
            certainty = VerificationStatus.ENTERED_IN_ERROR
        elif (kind := dg1.text(6)) is not None:
            table = reading.profile.tables.diagnosis_certainty
            certainty = reading.meaning(table, kind, (dg1, 6), certainty, "diagnosis type")
        by = dg1.text(16)
        department = reading.department_if_known()
        event = ConditionRecorded(
            condition_id=derived_id("condition", patient_id, _entity(dg1, 20) or code),
            patient_id=patient_id,
            code=code,
            display=line(dg1.text(3, 2) or dg1.text(4)),
            verification_status=certainty,
            encounter_id=visit_number(reading),
            practitioner_id=as_id(by, dg1, 16) if by else None,
            department_code=department.code if department else None,
            recorded_at=at,
        )
        # Of one that is both the admission's and the final one: what is surer.
        before = found.get(event.condition_id)
        if before is None or before.verification_status is not VerificationStatus.CONFIRMED:
            found[event.condition_id] = event
    yield from found.values()


def _allergies(reading: Reading, patient_id: str, at: datetime) -> Iterator[Event]:
    """Each once, or the two of one would be news to each other in every message: as the IAM
    says, which alone has a status, and what is graver of two that stand."""
    found: dict[str, tuple[str, AllergyRecorded]] = {}
    for segment in (*reading.message.all("IAM"), *reading.message.all("AL1")):
        substance = _substance(reading, segment)
        if substance is None:
            continue
        standing = _standing(reading, segment)
        clinical, certainty = _STANDINGS[standing]
        tables = reading.profile.tables
        kind, severity = segment.text(2), segment.text(4)
        own = _entity(segment, 7) if segment.name == "IAM" else None
        event = AllergyRecorded(
            allergy_id=derived_id("allergy", patient_id, own or substance.key),
            patient_id=patient_id,
            code=substance.code,
            system=substance.system,
            display=substance.display,
            category=kind
            and reading.meaning(tables.allergy_category, kind, (segment, 2), None, "allergen type"),
            criticality=severity
            and reading.meaning(tables.allergy_severity, severity, (segment, 4), None, "severity"),
            clinical_status=clinical,
            verification_status=certainty,
            encounter_id=visit_number(reading),
            recorded_at=at,
        )
        before = found.get(event.allergy_id)
        if before is None or (before[0] == segment.name and _graver(before[1], event)):
            found[event.allergy_id] = segment.name, event
    yield from (event for _, event in found.values())


def _graver(one: AllergyRecorded, other: AllergyRecorded) -> bool:
    """Whether ``other`` is: it stands, it is active, it is a danger."""
    (before, after) = (
        (
            event.verification_status is not VerificationStatus.ENTERED_IN_ERROR,
            event.clinical_status is ClinicalStatus.ACTIVE,
            event.criticality is Criticality.HIGH,
        )
        for event in (one, other)
    )
    return after > before


class _Substance(NamedTuple):
    key: str
    code: str | None
    system: str | None
    display: str


def _substance(reading: Reading, segment: Segment) -> _Substance | None:
    """AL1-3 or IAM-3: ATC if the sender or the profile's drug table says it, else its own code;
    in words alone if it has none."""
    value, profile = segment.value(3), reading.profile
    codings = list(types.codings(value))
    display = line(types.coded_text(value))
    words = {display, *(c.code for c in codings), *(c.text for c in codings)}
    if any(w and w.upper() in profile.clinical.no_allergy for w in words):
        reading.note("no_allergy", segment, 3, "says that there is none")
        return None
    if display is None:
        reading.note("allergy_left_out", segment, 3, "no substance")
        return None
    for coded in codings:
        system = (coded.system or "").upper()
        table = profile.tables.drug.codes
        drug = table.get(f"{system}|{coded.code}") or table.get(coded.code)
        atc = drug.atc if drug else coded.code.upper() if system in profile.systems.atc else None
        if atc is not None:
            code = as_code(atc, segment, 3)
            return _Substance(f"ATC|{code}", code, "ATC", display)
    if not codings:
        return _Substance(display, None, None, display)
    first = codings[0]
    code = as_code(first.code, segment, 3)
    own = as_code(first.system, segment, 3) if first.system else "LOCAL"
    return _Substance(f"{own}|{code}", code, own, display)


def _standing(reading: Reading, segment: Segment) -> AllergyStanding:
    if segment.name != "IAM":
        return AllergyStanding.CONFIRMED
    if segment.text(6) == _DELETED:
        return AllergyStanding.ERRONEOUS
    code, table = segment.text(17), reading.profile.tables.allergy_status
    if code is None:
        return AllergyStanding.CONFIRMED
    unknown = AllergyStanding.UNCONFIRMED
    return reading.meaning(table, code, (segment, 17), unknown, "allergy status")


def _entity(segment: Segment, number: int) -> str | None:
    """The sender's own id of the record (EI), with its namespace."""
    id = segment.text(number)
    return f"{id}@{segment.text(number, 2) or ''}" if id else None
