"""Who may read a report, and what is kept of having read it?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from libs.common.decision import (
    Actor,
    Answer,
    Common,
    Decision,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
)
from libs.common.events import ResultViewed
from services.reports.domain.people import People, needs_people, people
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.report import Head, Person, Report, Status


class Access(StrEnum):
    """What a caller gets of a report. What is not theirs does not exist for them."""

    NOT_FOUND = "not_found"
    WITHDRAWN = "withdrawn"  # they could see it once, or as staff; there is nothing more to see
    PATIENT_SIDE = "patient_side"
    STAFF = "staff"


class ViewReport(BaseModel):
    """A person has read the edition that is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edition: str


def is_treating_staff(actor: Actor, head: Head) -> bool:
    """Who ordered the report, and the doctors and nurses of the department that did."""
    if not actor.has("doctor", "nurse"):
        return False
    return (
        actor.person == head.ordering_practitioner_id or head.department_code in actor.departments
    )


def access(
    report: Report,
    around: People,
    actor: Actor,
    same: frozenset[str],
    policy: ReportPolicy,
    now: datetime,
) -> Access:
    """Staff of the ordering department see it in any status, its patient's side once released.

    ``same`` are all ids of the person who asks.
    """
    theirs = around.may_read(same, policy.audience.scopes, now)
    staff = report.head is not None and is_treating_staff(actor, report.head)
    if report.status is Status.WITHDRAWN:
        known = staff or (theirs and report.was_shown_to(around.ids))
        return Access.WITHDRAWN if known else Access.NOT_FOUND
    if theirs and report.status is Status.RELEASED:
        return Access.PATIENT_SIDE
    return Access.STAFF if staff else Access.NOT_FOUND


def needs_view(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(Report, input.subject)
    known = state.get(Report, input.subject)
    if known is not None and input.actor is not None:
        yield from needs_people(state, known.patient_id, input.actor.person)


def decide_view(input: Input, state: State, env: Env) -> Answer:
    data: ViewReport = input.data
    report, actor = state.get(Report, input.subject), input.actor
    if report is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    policy: ReportPolicy = env.policy.at(env.now)
    around, same = people(state, report.patient_id), people(state, actor.person).ids
    if access(report, around, actor, same, policy, env.now) is not Access.PATIENT_SIDE:
        return Refusal(Common.NOT_FOUND)
    head = report.shown
    if head is None or head.edition != data.edition:
        return Refusal(Common.STALE)  # replaced between the read and this
    seen = Person(edition=head.edition, person_id=actor.person)
    if seen in report.seen:
        return Decision(note="seen_before")
    after = report.but(seen=(*report.seen, seen))
    fact = ResultViewed(
        report_id=report.id,
        patient_id=report.patient_id,
        version=head.number,
        person_id=actor.person,
        viewed_at=env.now,
    )
    return Decision(changes=(after,), events=(Emit(fact, about=after),), note="viewed")
