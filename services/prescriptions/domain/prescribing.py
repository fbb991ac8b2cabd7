"""What follows from what the hospital tells about prescriptions and visits?

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
)
from libs.common.events import PrescriptionIssued, PrescriptionStopped, VisitCompleted
from services.prescriptions.domain.accounts import with_visit
from services.prescriptions.domain.documents import Order, Prescription, Reason, Visit
from services.prescriptions.domain.ending import all_accounts, close_open, needs_open
from services.prescriptions.domain.persons import needs_patient, patient
from services.prescriptions.domain.policy import RenewalPolicy

#: A publisher's clock may be this much ahead of ours, as for events themselves.
AHEAD = timedelta(minutes=5)


def ahead(at: datetime, now: datetime) -> bool:
    return at > now + AHEAD


def needs_issued(input: Input, state: State) -> Iterator[Need]:
    yield Need(Prescription, "id", input.data.prescription_id)


def decide_issued(input: Input, state: State, env: Env) -> Answer:
    told: PrescriptionIssued = input.data
    if ahead(told.issued_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Prescription, told.prescription_id)
    if known is not None and known.issued_at is not None and known.issued_at > told.issued_at:
        return Refusal(Common.STALE)
    return Decision(
        changes=(
            Prescription(
                id=told.prescription_id,
                hospital=input.hospital,
                patient_id=told.patient_id,
                order=Order.model_validate(told.model_dump(exclude={*map(str, told.assumed)})),
                issued_at=told.issued_at,
                stopped_at=known.stopped_at if known is not None else None,
            ),
        ),
        note="issued",
    )


def needs_stopped(input: Input, state: State) -> Iterator[Need]:
    # By the patient and not by the ingredient, which may be told in this very batch.
    told: PrescriptionStopped = input.data
    yield Need(Prescription, "id", told.prescription_id)
    yield from needs_open(state, input.hospital, told.patient_id)


def decide_stopped(input: Input, state: State, env: Env) -> Answer:
    told: PrescriptionStopped = input.data
    known = state.get(Prescription, told.prescription_id)
    if known is None:
        # Its order may still come; then it is stopped already.
        unknown = Prescription(
            id=told.prescription_id,
            hospital=input.hospital,
            patient_id=told.patient_id,
            stopped_at=told.stopped_at,
        )
        return Decision(changes=(unknown,), note="stopped_before_issued")
    if known.stopped_at is not None and known.stopped_at <= told.stopped_at:
        return Refusal(Common.STALE)
    stopped = known.but(stopped_at=told.stopped_at)
    if known.order is None or ahead(told.stopped_at, env.now):
        return Decision(changes=(stopped,), note="stopped")
    policy: RenewalPolicy = env.policy.at(env.now)
    changes, events = close_open(
        state,
        all_accounts(state, input.hospital, told.patient_id),
        Reason.PRESCRIPTION_STOPPED,
        env,
        policy,
        prescription_id=known.id,
    )
    return Decision(changes=(stopped, *changes), events=events, note="stopped")


def needs_visit(input: Input, state: State) -> Iterator[Need]:
    return needs_patient(state, input.data.patient_id)


def decide_visit(input: Input, state: State, env: Env) -> Answer:
    told: VisitCompleted = input.data
    policy: RenewalPolicy = env.policy.at(env.now)
    if ahead(told.occurred_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    if told.visit_class not in policy.rules.limit.parameters.visit_classes:
        return Decision(note="not_in_person")
    visit = Visit(
        department_code=told.department.code,
        visit_id=told.visit_id,
        occurred_at=told.occurred_at,
    )
    seen = with_visit(patient(state, input.hospital, told.patient_id), visit)
    return Refusal(Common.STALE) if seen is None else Decision(changes=(seen,), note="visit")
