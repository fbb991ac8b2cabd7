"""Which programme is a discharged patient invited to?

Programmes are dated policy data (``policies/programmes``): a department's groups for one
disease, or the department's default group. The choice follows one order, see
:func:`choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.common.events import (
    Diagnosis,
    DiagnosisUse,
    EncounterDischarged,
    GroupStaff,
    GroupStaffRole,
    Wording,
)
from libs.common.events.base import Code, Id, Prose, Word
from libs.common.years import birthday, years

#: The rank of a programme that no diagnosis led to: behind every diagnosis.
NO_DIAGNOSIS = 10_000
#: Key of the text to which people agree that their health data are used.
HEALTH_DATA = "health_data"
#: Years; whoever is older on paper counts as this old.
OLDEST = 150
#: A programme's id becomes part of its groups' ids.
ProgrammeId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,47}$")]
#: The beginning of a code, as published: ``I63``, ``Z93.2``, ``06.``
Prefix = Annotated[str, StringConstraints(min_length=2, max_length=16, pattern=r"^[A-Z0-9.]+$")]


class Rule(BaseModel):
    """Policy data: a misspelt key must not pass for an absent one."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Match(Rule):
    """Whom a programme is for. Every list that is given must match."""

    icd10: tuple[Prefix, ...] = Field(default=(), description="One of the diagnoses begins so.")
    procedures: tuple[Prefix, ...] = Field(
        default=(), description="One of the procedures (ICD-9-CM-3) begins so."
    )
    min_age: int = Field(default=0, ge=0, le=OLDEST, description="Completed years, inclusive.")
    max_age: int = Field(default=OLDEST, ge=0, le=OLDEST, description="Completed years, inclusive.")


class Staff(Rule):
    """Members of every group of the programme from its opening."""

    doctor: Id
    nurse: Id


class Sheets(Rule):
    """Keys of the texts that messaging posts (``policies/education``)."""

    welcome: Word
    rules: Word
    education: tuple[Word, ...] = ()


class Programme(Rule):
    """One programme while ``valid_from <= day <= valid_until`` (days at the hospital)."""

    id: ProgrammeId
    hospital: str | None = Field(default=None, description="Only at this one; else at all.")
    department: Code
    name: Wording
    valid_from: date
    valid_until: date | None = None
    source: str = Field(min_length=1)
    default: bool = Field(default=False, description="The department's group for all others.")
    priority: int = Field(default=0, ge=0, le=1000)
    match: Match = Match()
    group_limit: int | None = Field(default=None, ge=1, le=10_000)
    staff: Staff
    sheets: Sheets

    @model_validator(mode="after")
    def _make_sense(self) -> Programme:
        names_disease = bool(self.match.icd10 or self.match.procedures)
        if self.default == names_disease:
            raise ValueError("a programme names diseases or procedures, or it is a default")
        if self.valid_until is not None and self.valid_until < self.valid_from:
            raise ValueError("valid_until lies before valid_from")
        if self.match.max_age < self.match.min_age:
            raise ValueError("max_age lies below min_age")
        return self

    def valid_on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)

    @property
    def group_staff(self) -> tuple[GroupStaff, ...]:
        return (
            GroupStaff(practitioner_id=self.staff.doctor, role=GroupStaffRole.DOCTOR),
            GroupStaff(practitioner_id=self.staff.nurse, role=GroupStaffRole.NURSE),
        )


class ConsentText(Rule):
    """What a person agrees to, in both languages, from a day on.

    Consents keep the ``version``; the newest text that is valid on the day holds.
    """

    key: Word
    version: str = Field(min_length=1, max_length=64)
    valid_from: date
    source: str = Field(min_length=1)
    zh: Prose
    en: Prose


class Policy(Rule):
    """Everything that enrollment's rules may know besides their input."""

    programmes: tuple[Programme, ...]
    consents: tuple[ConsentText, ...]
    zone: ZoneInfo
    accept_url: str
    adult_age: Callable[[date], int]
    group_limit: int = 200
    invitation_valid: timedelta = timedelta(days=7)
    backfill_after: timedelta = timedelta(days=30)
    discharge_ahead: timedelta = timedelta(days=1)
    tell_staff_within: timedelta = timedelta(days=7)

    @model_validator(mode="after")
    def _agree(self) -> Policy:
        if not any(c.key == HEALTH_DATA for c in self.consents):
            raise ValueError(f"there is no text for the consent {HEALTH_DATA}")
        for n, a in enumerate(self.programmes):
            self.text(a.sheets.rules, a.valid_from)
            for b in self.programmes[:n]:
                if not _overlap(a, b):
                    continue
                if a.id == b.id:
                    raise ValueError(f"{a.id} is valid twice on one day")
                if a.default and b.default and a.department == b.department:
                    raise ValueError(f"{a.department} has two defaults: {a.id}, {b.id}")
        if len({(p.id, p.department) for p in self.programmes}) != len(
            {p.id for p in self.programmes}
        ):
            raise ValueError("a programme belongs to one department; give the new one a new id")
        return self

    @cached_property
    def by_department(self) -> dict[str, list[Programme]]:
        found: dict[str, list[Programme]] = {}
        for programme in self.programmes:
            found.setdefault(programme.department, []).append(programme)
        return found

    def day(self, at: datetime) -> date:
        """The calendar day at the hospital."""
        try:
            return at.astimezone(self.zone).date()
        except OverflowError:  # systems send the end of the year 9999 for "unknown"
            return at.date()

    def is_child(self, birth_date: date, at: datetime) -> bool:
        day = self.day(at)
        return years(birth_date, day) < self.adult_age(day)

    def adult_from(self, birth_date: date, at: datetime) -> datetime | None:
        """When who is a child at ``at`` comes of age, by the figure of that day; None for
        an adult."""
        if not self.is_child(birth_date, at):
            return None
        day = birthday(birth_date, self.adult_age(self.day(at)))
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def is_backfill(self, discharged_at: datetime, now: datetime) -> bool:
        return now - discharged_at > self.backfill_after

    def limit(self, programme: Programme) -> int:
        return programme.group_limit or self.group_limit

    def text(self, key: str, day: date) -> ConsentText:
        found = [c for c in self.consents if c.key == key and c.valid_from <= day]
        if not found:
            raise ValueError(f"there is no text for {key} on {day}")
        return max(found, key=lambda c: c.valid_from)

    def programme(self, id: str, hospital: str, day: date) -> Programme | None:
        return next(
            (p for p in _at(self.programmes, hospital, day) if p.id == id),
            None,
        )


def _overlap(a: Programme, b: Programme) -> bool:
    return (
        (a.hospital is None or b.hospital is None or a.hospital == b.hospital)
        and (a.valid_until is None or b.valid_from <= a.valid_until)
        and (b.valid_until is None or a.valid_from <= b.valid_until)
    )


def _at(programmes: Iterable[Programme], hospital: str, day: date) -> Iterable[Programme]:
    return (p for p in programmes if p.hospital in (None, hospital) and p.valid_on(day))


def choose(policy: Policy, hospital: str, discharge: EncounterDischarged) -> Programme | None:
    """The programme for this discharge: of those of its department that are valid on the
    day and match diagnoses, procedures and age, the first by

    1. the higher ``priority`` (the hospital's own wish);
    2. the more important diagnosis: discharge diagnoses by rank, then comorbidities by rank
       (admission diagnoses do not count: they may have been ruled out);
    3. the longer, more specific ICD-10 prefix;
    4. the narrower range of ages;
    5. the id, so that the answer is always the same.

    Without any: the department's default, if the age fits; else None.
    """
    day = policy.day(discharge.discharged_at)
    # Slips of the pen: born after the discharge, or in the year 1850.
    age = min(max(years(discharge.patient.birth_date, day), 0), OLDEST)
    diagnoses = _ranked(discharge.diagnoses)
    procedures = [_plain(p.code) for p in discharge.procedures]
    found: list[tuple[tuple[int, int, int, int, str], Programme]] = []
    default = None
    for p in _at(policy.by_department.get(discharge.department.code, ()), hospital, day):
        m = p.match
        if not m.min_age <= age <= m.max_age:
            continue
        if p.default:
            default = p
            continue
        if m.procedures and not any(
            c.startswith(_plain(x)) for c in procedures for x in m.procedures
        ):
            continue
        rank, length = _best_diagnosis(diagnoses, m.icd10)
        if m.icd10 and rank == NO_DIAGNOSIS:
            continue
        found.append(((-p.priority, rank, -length, m.max_age - m.min_age, p.id), p))
    return min(found, key=lambda f: f[0])[1] if found else default


def _ranked(diagnoses: Sequence[Diagnosis]) -> list[tuple[int, str]]:
    order = {DiagnosisUse.DISCHARGE: 0, DiagnosisUse.COMORBIDITY: 100}
    return [(order[d.use] + d.rank, _plain(d.code)) for d in diagnoses if d.use in order]


def _best_diagnosis(diagnoses: list[tuple[int, str]], prefixes: Sequence[str]) -> tuple[int, int]:
    hits = [
        (rank, -len(_plain(prefix)))
        for rank, code in diagnoses
        for prefix in prefixes
        if code.startswith(_plain(prefix))
    ]
    rank, length = min(hits, default=(NO_DIAGNOSIS, 0))
    return rank, -length


def _plain(code: str) -> str:
    # Systems send I63.9 and I639, and both cases.
    return code.upper().replace(".", "")
