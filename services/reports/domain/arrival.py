"""What does a new fact about a report change, for whom?

A content, a withdrawal or a doctor's release joins what is known, and the status follows
(``standing.py``). What that changes for people is told in ``settling.py``, for doctors
in ``alarm.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
    in_ms,
    unchanged,
    when,
)
from libs.common.events import ReportWithdrawn
from services.reports.domain.alarm import alarm, all_clear, answered
from services.reports.domain.people import needs_people
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.reading import is_treating_staff
from services.reports.domain.report import (
    Content,
    Head,
    Report,
    ReportVersion,
    Status,
    Why,
)
from services.reports.domain.settling import settled
from services.reports.domain.standing import with_standing

#: The note of a decision about a critical report that names nobody who could be told.
UNTOLD: Final = "critical_untold"


class Reason(StrEnum):
    """Why a doctor can't release a report."""

    NOT_FINAL = "not_final"
    HELD_BY_HOSPITAL = "held_by_hospital"
    WITHDRAWN = "withdrawn"


class ReleaseReport(BaseModel):
    """A doctor has talked with the patient: the report may be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def needs_content(input: Input, state: State) -> Iterator[Need]:
    event: Content = input.data
    yield from by_id(Report, event.report_id)
    yield from by_id(ReportVersion, ReportVersion.id_of(input))
    yield from needs_people(state, event.patient_id)


def decide_content(input: Input, state: State, env: Env) -> Answer:
    event: Content = input.data
    policy: ReportPolicy = env.policy.at(env.now)
    stored = ReportVersion(
        id=ReportVersion.id_of(input),
        hospital=input.hospital,
        report_id=event.report_id,
        number=event.version,
        received_at=env.now,
        observations=event.observations,
        conclusion=event.conclusion,
        correction=getattr(event, "correction", None),
    )
    before = _known(input, state, event.report_id, event.patient_id)
    head = Head.of(input, policy)
    if before.head is not None and head.rank <= before.head.rank:
        return Refusal(Common.STALE, changes=(stored,))  # kept, but something newer holds
    occurred = _occurred(before, head, env.now)
    after = with_standing(
        before.but(
            head=head,
            patient_id=event.patient_id,
            occurred_at=occurred,
            backfill=env.now >= policy.told_until(occurred),
        )
    )
    at = min(head.issued_at, env.now)
    after, no_longer = all_clear(after, policy, at)
    after, to_doctor = alarm(after, policy)
    emits = (*no_longer, *to_doctor)
    decision = settled(before, after, state, env, at, more=(stored,), emits=emits)
    return replace(decision, note=UNTOLD) if after.untold else decision


def _occurred(before: Report, head: Head, now: datetime) -> datetime:
    """From when telling counts: when the version was issued.

    When a hold is lifted later, an old version is shown for the first time: then it counts
    from when that was published. Never from a time that is still to come.
    """
    old = before.head
    lifted = (
        old is not None
        and before.status in (Status.HELD, Status.PRELIMINARY)
        and (old.number, old.issued_at) == (head.number, head.issued_at)
        and not before.backfill
    )
    return min(head.published_at if lifted else head.issued_at, now)


def needs_withdrawn(input: Input, state: State) -> Iterator[Need]:
    event: ReportWithdrawn = input.data
    yield from by_id(Report, event.report_id)
    known = state.get(Report, event.report_id)
    yield from needs_people(state, known.patient_id if known else event.patient_id)


def decide_withdrawn(input: Input, state: State, env: Env) -> Answer:
    event: ReportWithdrawn = input.data
    at = when(input, event.withdrawn_at)
    before = _known(input, state, event.report_id, event.patient_id)
    if event.version is not None:
        after = before.but(withdrawn_number=max(before.withdrawn_number, event.version))
    else:
        after = before.but(
            withdrawn_issued=_later(before.withdrawn_issued, at),
            withdrawn_published=_later(before.withdrawn_published, in_ms(input.time)),
        )
    at = min(at, env.now)
    after, no_longer = all_clear(with_standing(after), env.policy.at(env.now), at)
    return settled(before, after, state, env, at, emits=no_longer)


def needs_release(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(Report, input.subject)
    known = state.get(Report, input.subject)
    if known is not None:
        yield from needs_people(state, known.patient_id)


def decide_release(input: Input, state: State, env: Env) -> Answer:
    before = state.get(Report, input.subject)
    actor = input.actor
    if before is None or before.head is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    if not actor.has("doctor") or not is_treating_staff(actor, before.head):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, before):
        return Refusal(Common.CHANGED)
    if before.status is Status.RELEASED:
        return Decision(result=_answer(before), note="released_before")
    if before.status is not Status.HELD or before.why is Why.HELD:
        return Refusal(_REFUSED[before.status])
    cleared = (*before.cleared, before.head.issue)
    after = with_standing(before.but(cleared=cleared, occurred_at=env.now, backfill=False))
    decision = settled(before, answered(after), state, env, env.now)
    return replace(decision, result=_answer(after))


_REFUSED = {
    Status.PRELIMINARY: Reason.NOT_FINAL,
    Status.HELD: Reason.HELD_BY_HOSPITAL,
    Status.WITHDRAWN: Reason.WITHDRAWN,
}


def _known(input: Input, state: State, report_id: str, patient_id: str) -> Report:
    return state.get(Report, report_id) or Report(
        id=report_id,
        hospital=input.hospital,
        patient_id=patient_id,
        status=Status.WITHDRAWN,  # nothing is known yet, so nothing is shown
    )


def _later(known: datetime | None, new: datetime) -> datetime:
    return new if known is None else max(known, new)


def _answer(report: Report) -> dict[str, Any]:
    return {"id": report.id, "status": report.status}
