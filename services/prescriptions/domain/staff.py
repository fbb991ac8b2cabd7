"""Who of the staff can be asked to decide, and who stands in while they are away?

A *roster* names those who work in one role, doctors by department: hospital.staff tells of
persons one by one, but whoever is to be reminded is looked for by department.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
    derived_id,
    unchanged,
)
from libs.common.events import NotificationRequested, RefillStage, StaffRole
from libs.common.events.base import Id
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason

#: The roles that decide, by where a renewal lies.
ROLE: dict[RefillStage, StaffRole] = {
    RefillStage.DOCTOR: StaffRole.DOCTOR,
    RefillStage.PHARMACIST: StaffRole.PHARMACIST,
}


class Roster(Document):
    """Who works here in one role; see :func:`roster_id`."""

    COLLECTION: ClassVar[str] = "rosters"

    people: tuple[str, ...] = ()


def roster_id(role: StaffRole, department: str | None = None) -> str:
    """Doctors are of a department; pharmacists review, and ops look, for all of them."""
    return f"{role}|{department or ''}" if role is StaffRole.DOCTOR else f"{role}|"


def _rosters_of(one: Practitioner | None, now: datetime | None = None) -> set[str]:
    if one is None or (now is not None and one.has_left(now)):
        return set()
    roles = set(one.roles) - {StaffRole.NURSE}
    departments = one.departments or (None,)
    return {roster_id(role, department) for role in roles for department in departments}


def needs_rosters(known: Practitioner | None, new: Practitioner) -> list[Need]:
    return by_id(Roster, *_rosters_of(known), *_rosters_of(new))


def enlisted(
    state: State, known: Practitioner | None, new: Practitioner, now: datetime
) -> list[Document]:
    """The rosters that ``new`` comes into or goes from."""
    theirs, changed = _rosters_of(new, now), []
    for id in sorted(theirs | _rosters_of(known) | _rosters_of(new)):
        roster = state.get(Roster, id) or Roster(id=id, hospital=new.hospital)
        people = set(roster.people) - {new.id} | ({new.id} if id in theirs else set())
        if people != set(roster.people):
            changed.append(roster.but(people=tuple(sorted(people))))
    return [*changed]


class Absence(Document):
    """Since when and until when the practitioner of this id is away, and who stands in."""

    COLLECTION: ClassVar[str] = "absences"

    since: datetime | None = None
    until: datetime | None = None
    deputy_id: str | None = None

    def overlaps(self, since: datetime, until: datetime) -> bool:
        return (
            self.since is not None
            and self.until is not None
            and self.since < until
            and since < self.until
        )


def deputy(state: State, person: str, now: datetime) -> str | None:
    """Who stands in for ``person`` now; None if they are not away."""
    absence = state.get(Absence, person)
    return absence.deputy_id if absence is not None and is_away(absence, now) else None


def is_away(absence: Absence, now: datetime) -> bool:
    return absence.overlaps(now, now + timedelta(milliseconds=1))


class OutOfOffice(BaseModel):
    """While one is away a deputy may do, in their own name, what lies with one."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    since: AwareDatetime | None = Field(
        default=None, alias="from", description="Absent: here, or back."
    )
    until: AwareDatetime | None = Field(default=None, description="Back from then on.")
    deputy_id: Id | None = Field(
        default=None, description="Who stands in; absent: whom the hospital's record names."
    )


def needs_absence(input: Input, state: State) -> Iterator[Need]:
    me = input.actor.person if input.actor is not None else ""
    yield Need(Absence, "id", me)
    yield Need(Practitioner, "id", me)
    named = _named(input, state, me)
    if named is not None:
        yield Need(Absence, "id", named)
        yield Need(Practitioner, "id", named)


def _named(input: Input, state: State, me: str) -> str | None:
    asked: OutOfOffice = input.data
    record = state.get(Practitioner, me)
    return asked.deputy_id or (record.deputy_id if record is not None else None)


def decide_absence(input: Input, state: State, env: Env) -> Answer:
    asked: OutOfOffice = input.data
    if input.actor is None:
        return Refusal(Common.NOT_FOUND)
    me = input.actor.person
    known = state.get(Absence, me) or Absence(id=me, hospital=input.hospital)
    if not unchanged(input, known):
        return Refusal(Common.CHANGED)
    if asked.since is None and asked.until is None:
        back: Absence = known.but(since=None, until=None, deputy_id=None)
        return Decision(changes=(back,), result=absence_view(_saved(back)), note="in_office")
    if asked.since is None or asked.until is None or asked.since >= asked.until:
        return Refusal(Reason.PERIOD_INVALID)
    named = _named(input, state, me)
    if named is None:
        return Refusal(Reason.DEPUTY_MISSING)
    one = state.get(Practitioner, named)
    roles = {role for role in ROLE.values() if input.actor.has(role)}
    if (
        named == me
        or one is None
        or one.has_left(env.now)
        or not roles <= set(one.roles)
        or (StaffRole.DOCTOR in roles and input.actor.departments.isdisjoint(one.departments))
    ):
        return Refusal(Reason.DEPUTY_UNSUITABLE)
    theirs = state.get(Absence, named)
    if theirs is not None and theirs.overlaps(asked.since, asked.until):
        return Refusal(Reason.DEPUTY_AWAY)
    away: Absence = known.but(since=asked.since, until=asked.until, deputy_id=named)
    policy: RenewalPolicy = env.policy.at(env.now)
    return Decision(
        changes=(away,),
        events=(Emit(_told(away, named, policy, env.now)),),
        result=absence_view(_saved(away)),
        note="away",
    )


def _told(away: Absence, named: str, policy: RenewalPolicy, now: datetime) -> NotificationRequested:
    id = derived_id("refill.deputy", away.hospital, away.id, away.version)
    hours = policy.rules.deadlines.parameters.told_hours
    return NotificationRequested(
        notification_id=id,
        recipient_id=named,
        template="refill.deputy",
        parameters={
            "date": policy.clock(away.since or now),
            "deadline": policy.clock(away.until or now),
        },
        dedupe_key=id,
        event_time=now,
        expires_at=now + timedelta(hours=hours),
    )


def _saved(absence: Absence) -> Absence:
    saved: Absence = absence.but(version=absence.version + 1)
    return saved


class AbsenceView(BaseModel):
    """When one is away. ``version`` is its ``ETag``."""

    model_config = ConfigDict(frozen=True, from_attributes=True, populate_by_name=True)

    since: AwareDatetime | None = Field(alias="from")
    until: AwareDatetime | None
    deputy_id: str | None = Field(description="Who stands in.")
    version: int


def absence_view(absence: Absence) -> dict[str, Any]:
    seen = AbsenceView(
        since=absence.since,
        until=absence.until,
        deputy_id=absence.deputy_id,
        version=absence.version,
    )
    return seen.model_dump(mode="json", by_alias=True)
