"""Who is the patient of a message, and who may act for them (PID, NK1)?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from libs.common.decision import derived_id
from libs.common.events import Contact, Gender, PatientDeceased, Relationship
from services.interop.edge.guardians import GuardianRule
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, line
from services.interop.edge.hl7.message import Segment

#: PID-30 (table 0136).
_YES: Final = "Y"


@dataclass(frozen=True, slots=True)
class Person:
    """PID, as far as our events take it."""

    patient_id: str
    name: str
    phone: str | None
    email: str | None
    language: str | None
    birth_date: date
    gender: Gender
    deceased: bool
    #: Which of the fields above are empty, and so unchanged: ``""`` would take them away.
    left_out: frozenset[str]


@dataclass(frozen=True, slots=True)
class Kin:
    """One NK1 who may act for the patient."""

    segment: Segment
    person_id: str
    relationship: Relationship
    contact: Contact
    #: When it ends by itself; absent: it does not.
    valid_until: datetime | None
    #: When it ended, if the sender says so (NK1-9): it may have been told without an end before.
    ended_at: datetime | None = None


def person(reading: Reading, pid: Segment) -> Person:
    """The patient; :class:`Refused` where identifier, name or date of birth is missing."""
    patient_id = reading.patient_id(pid)
    name = line(types.person_name(pid.values(5)))
    if name is None:
        raise pid.missing(5)
    born = types.day(pid, 7)
    if born is None:
        raise pid.missing(7)
    if not born.exact:
        reading.note("partial_date", pid, 7, "no full date: the last day of what was given")
    told = pid.values(13) + pid.values(14) + pid.values(40)
    tables = reading.profile.tables
    sex, language = pid.text(8), pid.text(15)
    gender = Gender.UNKNOWN
    if sex is not None:
        gender = reading.meaning(tables.sex, sex, (pid, 8), Gender.UNKNOWN, "sex")
    return Person(
        patient_id=patient_id,
        name=name,
        phone=types.phone(told),
        email=types.email(told),
        # Not known: the hospital's language, which is nobody's loss and needs no note.
        language=tables.language.codes.get(language) if language else None,
        birth_date=born.date,
        gender=gender,
        deceased=has_died(reading, pid),
        left_out=_left_out(pid),
    )


def has_died(reading: Reading, pid: Segment) -> bool:
    """PID-30, where the profile believes it."""
    if (pid.text(30) or "").upper() != _YES:
        return False
    if not reading.profile.deaths:
        reading.note("death_not_told", pid, 30, "the profile takes no deaths from here")
    return reading.profile.deaths


def death(reading: Reading, pid: Segment, patient_id: str) -> PatientDeceased:
    at = reading.moment(((pid, 29), (reading.message.header, 7)))
    return PatientDeceased(patient_id=patient_id, deceased_at=at)


def _left_out(pid: Segment) -> frozenset[str]:
    empty = {
        "phone": (13, 14, 40),
        "email": (13, 14, 40),
        "gender": (8,),
        "language": (15,),
    }
    return frozenset(name for name, fields in empty.items() if not any(map(pid.raw, fields)))


def kin(reading: Reading, patient: Person, at: datetime) -> Iterator[Kin]:
    """Those of NK1 who may act for the patient by the profile, and last, with ``ended_at``,
    those who may not any more; the others are noted.

    Whether the patient is a child and a link has not ended is asked for the moment ``at`` that
    the message is about and for now: it may be an old one.
    """
    guardians = GuardianRule(
        reading.profile.guardians, reading.zone, reading.now, reading.adult_age
    )
    may_act = guardians.who_may(patient.birth_date, at)
    seen: set[str] = set()
    ended: list[Kin] = []
    for nk1 in reading.message.all("NK1"):
        relationship = _relationship(reading, nk1)
        if relationship is None or relationship not in may_act:
            reading.note("no_guardian", nk1, 3, "may not act for the patient by the profile")
            continue
        end = types.moment(nk1, 9, reading.zone)
        until = guardians.until(relationship, patient.birth_date, (end,))
        found = _kin(reading, nk1, patient.patient_id, relationship, until)
        if found is None or found.person_id in seen or found.person_id == patient.patient_id:
            continue
        if until is not None and until <= max(at, reading.now):
            reading.note("guardian_left_out", nk1, 9, "may not act for the patient any more")
            # Who comes of age was told with that end; what lies ahead has not ended yet.
            if end is not None and end <= reading.now:
                ended.append(replace(found, ended_at=end))
            continue
        seen.add(found.person_id)
        yield found
    yield from (one for one in ended if one.person_id not in seen)


def _relationship(reading: Reading, nk1: Segment) -> Relationship | None:
    code, sex = nk1.text(3), nk1.text(15)
    if code is None:
        return None
    table = reading.profile.tables.relationship
    by_sex = f"{code}/{sex}"
    key = by_sex if by_sex in table.codes else code
    return reading.meaning(table, key, (nk1, 3), Relationship.OTHER, "relationship")


def _kin(
    reading: Reading,
    nk1: Segment,
    patient_id: str,
    relationship: Relationship,
    until: datetime | None,
) -> Kin | None:
    name = line(types.person_name(nk1.values(2)))
    if name is None:
        reading.note("guardian_left_out", nk1, 2, "without a name")
        return None
    rule = reading.profile.guardians
    person_id = reading.identifier(nk1, 33, rule.identifier)
    if person_id is None:
        if not rule.derive_id:
            reading.note("guardian_left_out", nk1, 33, "without an identifier")
            return None
        reading.note("guardian_id_derived", nk1, 33, "from patient, relationship and name")
        person_id = derived_id("guardian", patient_id, relationship, name)
    told = nk1.values(5) + nk1.values(6) + nk1.values(40)
    contact = Contact(name=name, phone=types.phone(told), email=types.email(told))
    return Kin(nk1, person_id, relationship, contact, until)
