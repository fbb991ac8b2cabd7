"""What follows when what is known of a report has changed?

What the patient's side saw before and sees after decides what is published: *released*
when something new is shown, *recalled* when what was shown no longer is, whatever the
cause; who had read that is warned. A backfill is released as well, without telling anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.decision import Decision, Document, Emit, Env, State
from libs.common.events import ResultRecalled, ResultReleased
from services.reports.domain.people import people
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.report import Head, Release, Report
from services.reports.domain.telling import call_off, closing, tell, tell_readers


def settled(
    before: Report,
    after: Report,
    state: State,
    env: Env,
    at: datetime,
    *,
    more: Sequence[Document] = (),
    emits: Sequence[Emit] = (),
) -> Decision:
    """``after`` with all that follows from what happened ``at``: ``before`` -> ``after``."""
    policy: ReportPolicy = env.policy.at(env.now)
    old, shown = before.shown, after.shown
    facts: list[Emit] = []
    if old is not None and (shown is None or after.patient_id != before.patient_id):
        facts = _recalled(before, old, after, env.now)
        facts += tell_readers(before, old, policy, min(at, env.now))
        after = after.but(recalls=before.recalls + 1)
    elif old is not None and shown is not None and old.edition != shown.edition:
        facts = call_off(before, old, "replaced", env.now)
    if shown is not None and _shows_anew(before, after):
        facts.append(_released(after, shown, env.now))
        release = Release(edition=shown.edition, patient_id=after.patient_id, at=env.now)
        after = after.but(releases=(*after.releases, release))
    after, to_people = tell(after, people(state, after.patient_id), policy, env.now)
    return Decision(
        changes=(after, *more),
        events=(*facts, *emits, *to_people),
        timers=closing(after, policy),
        note=after.why or after.status,
    )


def _shows_anew(before: Report, after: Report) -> bool:
    """Whether the patient's side sees what it did not see: another issue, or at all."""
    old, new = before.shown, after.shown
    if new is None or old is None:
        return new is not None
    return (old.number, old.issued_at, before.patient_id) != (
        new.number,
        new.issued_at,
        after.patient_id,
    )


def _released(report: Report, head: Head, now: datetime) -> Emit:
    fact = ResultReleased(
        report_id=report.id,
        patient_id=report.patient_id,
        version=head.number,
        kind=head.kind,
        code=head.code,
        corrected=any(r.patient_id == report.patient_id for r in report.releases),
        released_at=now,
    )
    return Emit(fact, about=report)


def _recalled(before: Report, old: Head, after: Report, now: datetime) -> list[Emit]:
    """What was shown no longer is, or turns out to be another patient's."""
    reason = str(after.why or "other_patient")
    fact = ResultRecalled(
        report_id=before.id,
        patient_id=before.patient_id,
        version=old.number,
        recalled_at=now,
        reason=reason,
    )
    return [Emit(fact, about=after), *call_off(before, old, reason, now)]
