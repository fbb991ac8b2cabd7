"""Who is told that a report can be read, and in which words?

Each person once per edition, and anew after it was recalled, by notify, which alone knows
channels and contacts. A text never carries a result, and not even the report's title,
which may say as much: only its kind. Nobody is told when telling is over (the policy's
days since it happened), so neither a backfill nor a replay wakes anybody.

While the patient is unknown nobody is told: it might be a child. The report stays *open*
for what is still to come; so does a child's, whose guardians become known one by one. A
timer closes it when telling is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from libs.common.decision import (
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    Timer,
    by_id,
    derived_id,
)
from libs.common.events import NotificationCancelled, NotificationRequested, Urgency
from services.reports.domain.people import People
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.report import Head, Person, Report

TELLING_ENDED: Final = "report.telling_ended"

READY: Final = "report.ready"
CORRECTED: Final = "report.corrected"
WITHDRAWN: Final = "report.withdrawn"


class TellingEnded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    report_id: str


def notification_id(report: Report, telling: str, person_id: str, template: str) -> str:
    # "Corrected" is a way of saying "ready": of one edition a person is told one of them.
    purpose = READY if template == CORRECTED else template
    return derived_id(purpose, report.hospital, report.id, telling, person_id)


def tell(
    report: Report, audience_of: People, policy: ReportPolicy, now: datetime
) -> tuple[Report, list[Emit]]:
    """``report`` after telling whoever is to be told now, with the requests to notify."""
    head, occurred = report.shown, report.occurred_at
    if head is None or occurred is None or now >= policy.told_until(occurred):
        return report.but(open_for=None), []
    audience, telling = audience_of.audience(policy, now), report.telling(head)
    told = {audience_of.now_is(p.person_id) for p in report.told if p.edition == telling}
    fresh = [p for p in audience.persons if p not in told]
    replaces = any(
        r.patient_id == report.patient_id and r.edition != head.edition for r in report.releases
    )
    template = CORRECTED if replaces else READY
    emits = [request(report, telling, p, template, occurred, policy) for p in fresh]
    changed: Report = report.but(
        told=(*report.told, *(Person(edition=telling, person_id=p) for p in fresh)),
        open_for=None if audience.complete else report.patient_id,
    )
    return changed, emits


def call_off(report: Report, head: Head, reason: str, now: datetime) -> list[Emit]:
    """What was asked of notify about ``head`` and is still under way shall not be told."""
    telling = report.telling(head)
    return [
        cancel(notification_id(report, telling, p.person_id, READY), p.person_id, reason, now)
        for p in report.told
        if p.edition == telling
    ]


def tell_readers(report: Report, head: Head, policy: ReportPolicy, at: datetime) -> list[Emit]:
    """Who has read what is no longer shown since ``at`` must know that it no longer holds."""
    return [
        request(report, report.telling(head), p.person_id, WITHDRAWN, at, policy)
        for p in report.seen
        if p.edition == head.edition
    ]


def cancel(id: str, person_id: str, reason: str, now: datetime) -> Emit:
    return Emit(
        NotificationCancelled(
            notification_id=id, recipient_id=person_id, reason=reason, cancelled_at=now
        )
    )


def request(
    report: Report,
    telling: str,
    person_id: str,
    template: str,
    occurred: datetime,
    policy: ReportPolicy,
    *,
    to_staff: bool = False,
) -> Emit:
    """Ask notify to tell ``person_id``, by ``telling`` once of each thing.

    Staff are told of danger values only: at once, and whatever a patient consents to.
    """
    assert report.head is not None  # of what is unknown nobody is told
    id = notification_id(report, telling, person_id, template)
    return Emit(
        NotificationRequested(
            notification_id=id,
            recipient_id=person_id,
            patient_id=report.patient_id,
            template=template,
            parameters={"kind": report.head.kind.value, "report_id": report.id},
            urgency=Urgency.CRITICAL if to_staff else Urgency.ROUTINE,
            health_data=not to_staff,
            dedupe_key=id,
            event_time=occurred,
            expires_at=policy.told_until(occurred),
        )
    )


def closing(report: Report, policy: ReportPolicy) -> list[Timer]:
    """The timer that closes an open report."""
    if report.open_for is None or report.occurred_at is None:
        return []
    return [
        Timer(
            id=derived_id(TELLING_ENDED, report.hospital, report.id),
            due=policy.told_until(report.occurred_at),
            type=TELLING_ENDED,
            subject=report.id,
            data={"report_id": report.id},
        )
    ]


def needs_open(patient_ids: Iterable[str]) -> list[Need]:
    return [Need(Report, "open_for", id) for id in patient_ids]


def tell_open(
    state: State, env: Env, around: People, changes: Sequence[Document], note: str
) -> Decision:
    """Keep ``changes`` of people, and tell whoever they add of the patient's open reports."""
    policy: ReportPolicy = env.policy.at(env.now)
    changed, emits = [], []
    for id in sorted(around.ids):
        for report in state.where(Report, "open_for", id):
            after, more = tell(report, around, policy, env.now)
            if after != report:
                changed.append(after)
            emits += more
    return Decision(changes=(*changes, *changed), events=emits, note=note)


def needs_telling_ended(input: Input, _state: State) -> Iterable[Need]:
    data: TellingEnded = input.data
    return by_id(Report, data.report_id)


def decide_telling_ended(input: Input, state: State, env: Env) -> Decision | Refusal:
    data: TellingEnded = input.data
    report = state.get(Report, data.report_id)
    if report is None or report.open_for is None:
        return Refusal(Common.STALE)
    policy: ReportPolicy = env.policy.at(env.now)
    if report.occurred_at is not None and env.now < policy.told_until(report.occurred_at):
        return Refusal(Common.STALE)  # a newer edition has a timer of its own
    return Decision(changes=(report.but(open_for=None),), note="telling_ended")
