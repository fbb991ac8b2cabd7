"""What happens when a patient, or who acts for them, asks for a renewal?

It is accepted and takes a place of the account, or refused by a rule; either way it is
stored, published and told. What is not theirs does not exist for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    derived_id,
)
from libs.common.events import RefillRefused, RefillRequested, Sensitive
from libs.common.events.base import Id, Word
from services.prescriptions.domain.accounts import (
    account,
    all_accounts,
    left,
    needs_account,
    needs_accounts,
    reserved,
    used,
    with_asked,
)
from services.prescriptions.domain.chart import Chart, gather, needs_chart
from services.prescriptions.domain.checking import checked_with, question_of, to_check
from services.prescriptions.domain.checks import (
    Checks,
    ClinicalChecks,
    NotChecked,
    Question,
    nothing_checked,
)
from services.prescriptions.domain.choosing import Choice, address_timers, chosen
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Facts, Outcome
from services.prescriptions.domain.instead import as_extra, instead
from services.prescriptions.domain.persons import (
    ids_of,
    is_patient,
    may_act,
    needs_patient,
    patient,
    persons,
    role_of,
)
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.receipt import receipt
from services.prescriptions.domain.rules import ASKING, evaluate, refusal
from services.prescriptions.domain.steps import moved, refused, timers, which
from services.prescriptions.domain.told import told
from services.prescriptions.domain.transitions import Action, Status


class RefillRequest(BaseModel):
    """Ask for a renewal of one prescription."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    prescription_id: Id = Field(description="The prescription to renew.")
    patient_id: Id = Field(description="The patient whose prescription it is.")
    declaration: Sensitive[Mapping[Word, Literal["yes", "no"]]] = Field(
        default={},
        max_length=16,
        description="An answer to each question of `GET /v1/declaration`, by its id.",
    )
    fulfilment: Choice | None = Field(
        default=None, description="Where the medicine shall come from; may be chosen later."
    )
    note: Sensitive[Annotated[str, Field(min_length=1, max_length=500)] | None] = Field(
        default=None, description="How the patient is doing, for the doctor."
    )


class CheckedRequest(RefillRequest, Checks):
    """The same with the clinical checks, which a doctor is to see."""


def refill_id(input: Input) -> str:
    return derived_id("refill", input.hospital, input.source, input.id)


def needs_request(input: Input, state: State) -> Iterator[Need]:
    asked: RefillRequest = input.data
    yield Need(Refill, "id", refill_id(input))
    if input.actor is not None:
        yield from needs_patient(state, input.actor.person)
    yield from needs_chart(state, input.hospital, asked.patient_id)
    yield from needs_accounts(patient(state, input.hospital, asked.patient_id))
    yield Need(Prescription, "id", asked.prescription_id)
    prescription = state.get(Prescription, asked.prescription_id)
    if prescription is not None and prescription.order is not None:
        ingredient = prescription.order.medication.ingredient_code
        yield from needs_account(state, input.hospital, asked.patient_id, ingredient)


def decide_request(input: Input, state: State, env: Env) -> Answer:
    asked: RefillRequest = input.data
    policy: RenewalPolicy = env.policy.at(env.now)
    care = patient(state, input.hospital, asked.patient_id)
    prescription = state.get(Prescription, asked.prescription_id)
    if input.actor is None or prescription is None or prescription.order is None:
        return Refusal(Common.NOT_FOUND)
    ids = persons(state, input.hospital, input.actor)
    if prescription.patient_id not in ids_of(care) or not may_act(care, ids, env.now, policy):
        return Refusal(Common.NOT_FOUND)
    choice = None
    if asked.fulfilment is not None:
        choice = chosen(asked.fulfilment, input.actor, env, env.policy.pharmacies)
        if isinstance(choice, Refusal):
            return choice  # nothing was asked for yet: it can be sent again
    order = prescription.order
    own, taken_in = account(
        care, order.medication.ingredient_code, lambda id: state.get(RenewalAccount, id)
    )
    today = policy.day(env.now)
    oneself = is_patient(care, ids)
    chart = Chart.of(state, care)
    question = question_of(
        prescription.id, order, order.days_supply, care, chart, all_accounts(state, care),
        env.now, policy,
    )  # fmt: skip
    checks = _checks(input, question)
    facts = gather(
        prescription,
        order,
        care,
        own,
        chart,
        now=env.now,
        policy=policy,
        oneself=oneself,
        declaration=asked.declaration,
        checks=checks,
    )
    outcomes = evaluate(facts, policy, env.now, ASKING)
    reason = refusal(outcomes, policy)
    other: dict[str, Any] = {}
    if reason is not None:
        open_refill = own.open[0] if own.open else None
        step = instead(reason, facts, order.department, open_refill, env.now, policy)
        other = {"instead": as_extra(step)}
    if reason is Reason.DECLARATION_MISSING:
        return refused(
            reason, policy, **other
        )  # no answer to keep: the questions were not answered
    if reason is None and checks is None:
        return to_check(question)
    draft = _draft(input, care, prescription, order, facts)
    role = role_of(care, ids)
    if reason is not None:
        refill, events = _refuse(draft, reason, outcomes, checks, env, policy, input.actor, role)
        # The account is written, too: no refusal may rest on a place that was just freed.
        changes = [refill, own, *taken_in]
        return refused(reason, policy, changes, events, refill_id=draft.id, **other)
    limit = policy.rules.limit.parameters.renewals
    number = used(own, care, order.department.code) + 1
    more = left(own, care, order.department.code, limit) - 1
    refill = moved(
        draft,
        Action.REQUEST,
        env,
        policy,
        by=input.actor,
        role=role,
        outcomes=outcomes,
        checks=checks,
        number=number,
        remaining=more,
        fulfilment=choice,
    )
    # Written by every request of the patient, so that no two at once pass the rule together.
    marked = with_asked(care, (own.ingredient_code,), today)
    fact = RefillRequested(**which(refill), number=number, requested_at=env.now)
    return Decision(
        changes=(
            refill,
            reserved(own, refill.id),
            marked,
            *taken_in,
        ),
        events=(Emit(fact, refill), told(refill, env.now, policy)),
        timers=(*timers(refill, env.now, policy), *address_timers(refill, policy)),
        result=receipt(refill),
        note=refill.status,
    )


def _checks(input: Input, question: Question) -> ClinicalChecks | None:
    """What was found. If the question is another one by now nothing was checked, which the
    doctor sees, and whose decision has a check of its own."""
    checked = checked_with(input)
    if checked is None or checked.question == question:
        return None if checked is None else checked.checks
    found = checked.checks
    return nothing_checked(found.id, found.engine, found.at, NotChecked.CHANGED)


def _draft(
    input: Input, care: PatientCare, prescription: Prescription, order: Order, facts: Facts
) -> Refill:
    return Refill(
        id=refill_id(input),
        hospital=input.hospital,
        patient_id=care.id,
        prescription_id=prescription.id,
        ingredient_code=order.medication.ingredient_code,
        department_code=order.department.code,
        requested_by=input.actor.person if input.actor is not None else "",
        requested_at=input.time,
        note=input.data.note,
        order=order,
        prescriber_id=order.prescriber_id,
        status=Status.WAITING_DOCTOR,
        facts=facts,
    )


def _refuse(
    draft: Refill,
    reason: Reason,
    outcomes: tuple[Outcome, ...],
    checks: ClinicalChecks | None,
    env: Env,
    policy: RenewalPolicy,
    by: Actor,
    role: str,
) -> tuple[Refill, list[Emit]]:
    refill = moved(
        draft, Action.REFUSE, env, policy, by=by, role=role, reason=reason, outcomes=outcomes,
        checks=checks,
    )  # fmt: skip
    events = [Emit(RefillRefused(**which(refill), reason=reason, refused_at=env.now), refill)]
    if reason is not Reason.PATIENT_DECEASED:
        # Asking again and again is answered each time, but told once a day.
        day = policy.day(env.now).isoformat()
        once = derived_id(refill.patient_id, refill.ingredient_code, reason, day)
        events.append(told(refill, env.now, policy, once=once))
    return refill, events
