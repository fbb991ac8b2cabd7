"""What follows from what the hospital tells about prescriptions that end, and about visits?

Facts that may come late, twice, or about something not yet known. A fact is kept and
counts by the time when it happened; an older one than what is known changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Env,
    Input,
    Need,
    Refusal,
    State,
    in_ms,
)
from libs.common.events import PrescriptionStopped, VisitCancelled, VisitCompleted
from services.prescriptions.domain.accounts import with_visit
from services.prescriptions.domain.consequences import (
    added,
    consequences,
    look_again,
    needs_consequences,
)
from services.prescriptions.domain.documents import (
    Prescription,
    Visit,
)
from services.prescriptions.domain.persons import patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason

#: A publisher's clock may be this much ahead of ours, as for events themselves.
AHEAD = timedelta(minutes=5)
#: Within this a visit that was taken back to be corrected has been told again.
SETTLED = timedelta(hours=1)


def ahead(at: datetime, now: datetime) -> bool:
    return at > now + AHEAD


def needs_stopped(input: Input, state: State) -> Iterator[Need]:
    # By the patient and not by the ingredient, which may be told in this very batch.
    told: PrescriptionStopped = input.data
    yield Need(Prescription, "id", told.prescription_id)
    for id in _whose(told, state):
        yield from needs_consequences(state, input.hospital, id)


def _whose(told: PrescriptionStopped, state: State) -> list[str]:
    """The records that it concerns: whose it is told to be, and as whose it is known, if that
    they are one is not told yet."""
    known = state.get(Prescription, told.prescription_id)
    return list(dict.fromkeys((told.patient_id, known.patient_id if known else told.patient_id)))


def decide_stopped(input: Input, state: State, env: Env) -> Answer:
    """It stands against the prescription's own renewals, and against those of others."""
    told: PrescriptionStopped = input.data
    # Without its order, which may still come; then it is stopped already.
    known = state.get(Prescription, told.prescription_id) or Prescription(
        id=told.prescription_id, hospital=input.hospital, patient_id=told.patient_id
    )
    if known.stopped_at is not None and known.stopped_at <= told.stopped_at:
        return Refusal(Common.STALE)
    stopped = known.but(stopped_at=told.stopped_at)
    if told.stopped_at > env.now:
        later = [look_again(id, told.stopped_at) for id in _whose(told, state)]
        return Decision(changes=(stopped,), timers=later, note="stopped_later")
    note = "stopped" if known.order is not None else "stopped_before_issued"
    decision = Decision(changes=(stopped,), note=note)
    # By the person, or what follows for two records that were merged would be said twice.
    persons = {p.id: p for p in (patient(state, input.hospital, id) for id in _whose(told, state))}
    for care in persons.values():
        decision = added(decision, consequences(state, care, env, stopped))
    return decision


def needs_visit(input: Input, state: State) -> Iterator[Need]:
    return needs_consequences(state, input.hospital, input.data.patient_id)


def decide_visit(input: Input, state: State, env: Env) -> Answer:
    told: VisitCompleted = input.data
    policy: RenewalPolicy = env.policy.at(env.now)
    told_at = in_ms(told.recorded_at or input.time)
    if ahead(max(told.occurred_at, told_at), env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    if told.visit_class not in policy.rules.limit.parameters.visit_classes:
        # Kept, since it may be told to be in person as well, which it then was not.
        visit = Visit(visit_id=told.visit_id, cancelled_at=told_at)
        return _visit(input, state, env, visit, "not_in_person")
    visit = Visit(
        visit_id=told.visit_id,
        department_code=told.department.code,
        occurred_at=in_ms(told.occurred_at),
        told_at=told_at,
    )
    return _visit(input, state, env, visit, "visit")


def decide_visit_cancelled(input: Input, state: State, env: Env) -> Answer:
    """What was renewed in the meantime stays and counts. What is new since the visit that is the
    last one now stands against a renewal when it is decided on, and after ``SETTLED`` against
    those in effect: many a visit is taken back to be told again, and what is withheld stays so."""
    told: VisitCancelled = input.data
    visit = Visit(visit_id=told.visit_id, cancelled_at=in_ms(told.cancelled_at))
    seen = with_visit(patient(state, input.hospital, told.patient_id), visit)
    if seen is None:
        return Refusal(Common.STALE)
    later = look_again(seen.id, env.now + SETTLED)
    return Decision(changes=(seen,), timers=(later,), note="visit_cancelled")


def _visit(input: Input, state: State, env: Env, visit: Visit, note: str) -> Answer:
    seen = with_visit(patient(state, input.hospital, input.data.patient_id), visit)
    if seen is None:
        return Refusal(Common.STALE)
    return added(Decision(changes=(seen,), note=note), consequences(state, seen, env))
