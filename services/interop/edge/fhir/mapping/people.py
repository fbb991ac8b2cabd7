"""What do Patient and RelatedPerson tell?

A Patient that came for the first time is registered, later it is updated; ``link`` merges, and
``deceased`` tells of a death. A RelatedPerson who may act for the patient by the profile is
linked, until their ``period`` ends or the child comes of age.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from libs.common.decision import derived_id
from libs.common.events import (
    Contact,
    Event,
    Gender,
    GuardianLinked,
    GuardianUnlinked,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    Relationship,
)
from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.naming import line

_CJK: Final = re.compile(r"[㐀-鿿豈-﫿\U00020000-\U0003ffff]")
_EMAIL: Final = re.compile(r"[^@\s]{1,120}@[^@\s]{1,120}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
#: HumanName.use and ContactPoint.use of what holds no more.
_GONE: Final = frozenset({"old", "maiden"})


@dataclass(frozen=True, slots=True)
class Person:
    """A Patient, as far as our events take it."""

    contact: Contact
    birth_date: date
    gender: Gender
    deceased: bool
    #: The time of death, if the sender gives it.
    died_at: datetime | None


def name_of(names: Sequence[Any] | None) -> str | None:
    """A HumanName as people write it. Ideographs before other scripts, the official name
    before others."""

    def rank(name: Any) -> tuple[bool, bool]:
        return not _CJK.search(_written(name)), name.use not in ("official", None)

    held = [n for n in names or () if n.use not in _GONE and _written(n)]
    return line(_written(min(held, key=rank))) if held else None


def _written(name: Any) -> str:
    if name.text:
        return str(name.text)
    family, given = name.family or "", [g for g in name.given or () if g]
    if _CJK.search(family + "".join(given)):
        return family + "".join(given)
    return " ".join(p for p in (*given, family) if p)


def phone_of(telecom: Sequence[Any] | None) -> str | None:
    """The first mobile telephone, else the first by rank."""
    told = [t for t in telecom or () if t.system in ("phone", "sms") and _holds(t)]
    best = sorted(told, key=lambda t: (t.use != "mobile", t.rank or 99))
    return best[0].value[:64] if best else None


def email_of(telecom: Sequence[Any] | None) -> str | None:
    told = [t.value for t in telecom or () if t.system == "email" and _holds(t)]
    return next((value for value in told if _EMAIL.fullmatch(value)), None)


def _holds(point: Any) -> bool:
    return bool(point.value and point.value.strip()) and point.use not in _GONE


def day_of(value: Any) -> date | None:
    """A date; of a year or a month alone its last day: nobody counts as grown up too early."""
    if isinstance(value, str):
        year, month = int(value[:4]), int(value[5:7] or 12)
        return date(year, month, monthrange(year, month)[1])
    return value.date() if isinstance(value, datetime) else value


def person(reading: Reading, patient: Resource) -> Person:
    """What is known of a patient; :class:`Refused` where name or date of birth is missing."""
    model = patient.model
    name = name_of(model.name)
    if name is None:
        raise Refused(patient.at("name"), Issue.REQUIRED, "required: a name")
    born = day_of(model.birthDate)
    if born is None:
        raise Refused(patient.at("birthDate"), Issue.REQUIRED, "required")
    if isinstance(model.birthDate, str):
        text = "no full date: the last day of what was given"
        reading.note("partial_date", patient.at("birthDate"), text)
    died_at = reading.time(model.deceasedDateTime)
    dead = bool(model.deceasedBoolean or model.deceasedDateTime)
    if dead and not reading.profile.deaths:
        text = "the profile takes no deaths from here"
        reading.note("death_not_told", patient.at("deceased"), text)
    return Person(
        contact=Contact(
            name=name,
            phone=phone_of(model.telecom),
            email=email_of(model.telecom),
            language=_language(reading, model.communication),
        ),
        birth_date=born,
        gender=_gender(patient),
        deceased=dead and reading.profile.deaths,
        died_at=died_at,
    )


def _gender(patient: Resource) -> Gender:
    code = patient.model.gender
    try:
        return Gender(code) if code else Gender.UNKNOWN
    except ValueError:
        text = "must be male, female, other or unknown"
        raise Refused(patient.at("gender"), Issue.CODE_INVALID, text) from None


def _language(reading: Reading, communication: Sequence[Any] | None) -> str | None:
    for one in sorted(communication or (), key=lambda c: not c.preferred):
        found = reading.known_code(reading.profile.tables.language, one.language)
        if found is not None:
            return found[0]
        for coded in reading.codings(one.language):
            if _LANGUAGE.fullmatch(coded.code) and len(coded.code) <= 35:
                return coded.code
    return None


def patient(reading: Reading, resource: Resource) -> Iterator[Event]:
    id = reading.patient_id(resource)
    if PatientUpdated.TOPIC not in reading.topics:
        return  # such as a laboratory's, which says no more of a patient than who it is
    at = reading.recorded(resource)
    for gone, kept in _merges(reading, resource, id):
        yield PatientMerged(patient_id=gone, survivor_id=kept, merged_at=at)
        if gone == id:
            return
    found = person(reading, resource)
    kind = PatientUpdated if resource.before else PatientRegistered
    yield kind(
        patient_id=id,
        **found.contact.model_dump(),
        birth_date=found.birth_date,
        gender=found.gender,
        active=resource.model.active is not False,
        updated_at=at,
    )
    if found.deceased:
        died = [("deceasedDateTime", found.died_at)]
        yield PatientDeceased(patient_id=id, deceased_at=reading.moment(resource, died))
    elif (earlier := resource.earlier()) is not None and _dead(earlier.raw):
        text = "a death that was told can't be taken back: it stands"
        reading.note("death_stands", resource.at("deceased"), text)


def _dead(raw: Mapping[str, Any]) -> bool:
    return bool(raw.get("deceasedBoolean") or raw.get("deceasedDateTime"))


def _merges(reading: Reading, resource: Resource, id: str) -> Iterator[tuple[str, str]]:
    """Who goes and who stays, by each ``link``."""
    for n, link in enumerate(resource.model.link or ()):
        if link.type not in ("replaced-by", "replaces"):
            continue
        path = f"link[{n}].other"
        other, _ = reading.patient(link.other, resource, path)
        if other == id:
            text = "a patient is not merged with itself"
            raise Refused(resource.at(path), Issue.INVALID, text)
        yield (id, other) if link.type == "replaced-by" else (other, id)


@dataclass(frozen=True, slots=True)
class Kin:
    """A RelatedPerson who may act for the patient, or could."""

    patient_id: str
    person_id: str
    relationship: Relationship
    contact: Contact
    valid_until: datetime | None
    #: Why not, or not any more; empty: may.
    barred: str


def related(reading: Reading, resource: Resource) -> Iterator[Event]:
    at = reading.recorded(resource)
    found = kin(reading, resource, at)
    earlier = resource.earlier()
    before = kin(reading, earlier, at) if earlier else None
    if before and not before.barred and (found is None or before.person_id != found.person_id):
        yield _unlinked(before, at)
    if found is None:
        return
    if not found.barred:
        yield GuardianLinked(
            patient_id=found.patient_id,
            person_id=found.person_id,
            relationship=found.relationship,
            scope=reading.profile.guardians.scope,
            verified_by=reading.profile.guardians.verified_by,
            valid_until=found.valid_until,
            linked_at=at,
            contact=found.contact,
        )
        return
    reading.note("no_guardian", resource.place, found.barred)
    if before is not None:
        yield _unlinked(found, at)


def _unlinked(kin: Kin, at: datetime) -> GuardianUnlinked:
    return GuardianUnlinked(patient_id=kin.patient_id, person_id=kin.person_id, unlinked_at=at)


def kin(reading: Reading, resource: Resource, at: datetime) -> Kin | None:
    """``None``, with a note, for somebody without a name or identifier."""
    model, rule = resource.model, reading.profile.guardians
    patient_id, record = reading.patient(model.patient, resource, "patient")
    if record is None:
        text = "send the Patient in the same bundle or before: their age matters"
        raise Refused(resource.at("patient"), Issue.NOT_FOUND, text)
    name = name_of(model.name)
    if name is None:
        reading.note("guardian_left_out", resource.at("name"), "without a name")
        return None
    relationship = _relationship(reading, resource)
    born = day_of(record.model.birthDate)
    person_id = reading.chosen(model.identifier, rule.identifier, resource.at("identifier"))
    if person_id is not None:
        person_id = reading.as_id(person_id, resource.at("identifier"))
    elif rule.derive_id and relationship is not None:
        person_id = derived_id("guardian", patient_id, relationship, name)
    if person_id is None or relationship is None or born is None or person_id == patient_id:
        text = "nobody who could act, or without an identifier"
        reading.note("guardian_left_out", resource.place, text)
        return None
    contact = Contact(name=name, phone=phone_of(model.telecom), email=email_of(model.telecom))
    ends = [reading.until(model.period.end)] if model.period else []
    until = reading.guardians.until(relationship, born, ends)
    barred = ""
    if relationship not in reading.guardians.who_may(born, at):
        barred = "may not act for the patient by the profile"
    elif model.active is False or (until is not None and until <= max(at, reading.now)):
        barred = "may not act for the patient any more"
    return Kin(patient_id, person_id, relationship, contact, until, barred)


def _relationship(reading: Reading, resource: Resource) -> Relationship | None:
    """The first relationship that the table knows; a parent's by their gender."""
    table, gender = reading.profile.tables.relationship, resource.model.gender
    sex = {"female": "F", "male": "M"}.get(gender or "", "")
    for concept in resource.model.relationship or ():
        for coded in reading.codings(concept):
            by_sex = f"{coded.code}/{sex}"
            if by_sex in table.codes:
                return table.codes[by_sex]
    for n, concept in enumerate(resource.model.relationship or ()):
        place = resource.at(f"relationship[{n}]")
        found = reading.meaning(table, concept, place, Relationship.OTHER, "relationship")
        if found is not None:
            return found
    return None


def guardians(reading: Reading, patient: Resource, at: datetime) -> Iterator[Kin]:
    """Those who may act for ``patient`` at the moment ``at``, of this request and earlier."""
    seen: set[str] = set()
    for resource in reading.known.all.values():
        if resource.type != "RelatedPerson":
            continue
        if reading.of(resource.model.patient, resource, "patient", "Patient") is not patient:
            continue
        found = kin(reading, resource, at)
        if found is not None and not found.barred and found.person_id not in seen:
            seen.add(found.person_id)
            yield found
