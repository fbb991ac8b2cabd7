"""What is done with what a pharmacy tells?

A report is a fact: it is kept, of which prescription soever, however late, and whether or
not it should have happened. Of a renewal of ours more follows (``domain/following.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
)
from libs.common.events import FulfilmentStatus, FulfilmentUpdated
from services.prescriptions.domain.choosing import reminders
from services.prescriptions.domain.consequences import look_again
from services.prescriptions.domain.documents import Prescription, Refill
from services.prescriptions.domain.following import followed, published
from services.prescriptions.domain.fulfilment import Fulfilment, Report
from services.prescriptions.domain.persons import ids_of, needs_patient, patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.prescribing import ahead
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.steps import deadline_timer

#: Kept, and the renewal stands where it stood.
KEPT: Final = "kept"


def needs_report(input: Input, state: State) -> Iterator[Need]:
    told: FulfilmentUpdated = input.data
    yield Need(Fulfilment, "id", told.fulfilment_id)
    yield Need(Prescription, "id", told.prescription_id)
    yield Need(Refill, "new_prescription_id", told.prescription_id)
    yield from needs_patient(state, told.patient_id)
    id = _named(told, state)
    if id is not None:
        yield Need(Refill, "id", id)
    refill = _refill_of(told, state)
    if refill is not None:
        yield Need(Fulfilment, "refill_id", refill.id)


def _named(told: FulfilmentUpdated, state: State) -> str | None:
    """The renewal that the hospital has made the prescription of, or that the pharmacy names."""
    prescription = state.get(Prescription, told.prescription_id)
    order = prescription.order if prescription is not None else None
    return (order.refill_id if order is not None else None) or told.refill_id


def _refill_of(told: FulfilmentUpdated, state: State) -> Refill | None:
    own = next(iter(state.where(Refill, "new_prescription_id", told.prescription_id)), None)
    id = _named(told, state)
    return own or (state.get(Refill, id) if id is not None else None)


def decide_report(input: Input, state: State, env: Env) -> Answer:
    told: FulfilmentUpdated = input.data
    if ahead(told.occurred_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Fulfilment, told.fulfilment_id) or Fulfilment(
        id=told.fulfilment_id,
        hospital=input.hospital,
        patient_id=told.patient_id,
        prescription_id=told.prescription_id,
    )
    if known.prescription_id != told.prescription_id:
        return Refusal(Reason.ANOTHER_PRESCRIPTION)
    report = Report.of(told)
    fulfilment = known.told(report)
    if fulfilment is None:
        return Refusal(Common.STALE)
    refill = _refill_of(told, state)
    if refill is None:
        changes = (fulfilment.but(refill_id=told.refill_id), *_awaited(input, state))
        return Decision(changes=changes, note="no_renewal_of_ours")
    care = patient(state, input.hospital, told.patient_id)
    if refill.patient_id not in ids_of(care):
        return Refusal(Reason.ANOTHER_PATIENT, changes=(fulfilment,))
    policy: RenewalPolicy = env.policy.at(env.now)
    fulfilment = fulfilment.but(refill_id=refill.id)
    all = {f.id: f for f in (*state.where(Fulfilment, "refill_id", refill.id), fulfilment)}
    after = followed(refill, all.values(), env, policy)
    timers = []
    if refill.effective_at is not None and refill.withheld_at is None:
        # What was told before the report may stand against what it tells of.
        timers.append(look_again(refill.patient_id, env.now))
        timers.append(deadline_timer(after, env.now))  # and its days of supply may begin
    if report.status is FulfilmentStatus.DECLINED:
        timers += reminders(after, env, policy)
    return Decision(
        # The renewal is always written: of two reports at once the later one sees the other.
        changes=(fulfilment, after),
        events=published(after, fulfilment, (report,), care, policy),
        timers=timers,
        note=after.status if after.status is not refill.status else KEPT,
    )


def _awaited(input: Input, state: State) -> Iterator[Document]:
    """A prescription that is not known yet, written so that it and its dispensing, told at one
    moment, can't miss each other."""
    told: FulfilmentUpdated = input.data
    known = state.get(Prescription, told.prescription_id)
    if known is None or known.order is None:
        yield known or Prescription(
            id=told.prescription_id, hospital=input.hospital, patient_id=told.patient_id
        )
