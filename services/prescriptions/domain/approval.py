"""What follows when a doctor signs a renewal?

It is made out as the prescription that it is to become, with what the doctor changed of
it, and lies with a pharmacist next.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.common.decision import Actor, Answer, Common, Input, Refusal, State
from libs.common.events import (
    Event,
    Gender,
    RefillDoctorApproved,
    RefillDoctorChanged,
    RefillDoctorReplaced,
)
from services.prescriptions.domain.accounts import left
from services.prescriptions.domain.case import Case
from services.prescriptions.domain.changing import Answered
from services.prescriptions.domain.checking import acknowledgements
from services.prescriptions.domain.checks import ClinicalChecks
from services.prescriptions.domain.documents import Changes, Refill, SignedForm
from services.prescriptions.domain.facts import Outcome
from services.prescriptions.domain.form import (
    FormPatient,
    digest,
    made_out,
    nonce_of,
    own_prescription,
)
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.signatures import SIGNATORIES, signed_with, taken
from services.prescriptions.domain.steps import moved, which
from services.prescriptions.domain.transitions import Action

ROLE = SIGNATORIES[0]

#: The answers that are signed.
SIGNED = frozenset({Action.APPROVE, Action.CHANGE, Action.REPLACE})


def may_follow(case: Case) -> int:
    """Renewals that are left until the next visit in person, this one among them."""
    limit = case.policy.rules.limit.parameters.renewals
    return left(case.account, case.care, case.refill.department_code, limit)


def approved(
    case: Case,
    actor: Actor,
    action: Action,
    input: Input,
    state: State,
    outcomes: tuple[Outcome, ...],
    checks: ClinicalChecks,
    valid_days: int,
    answer: Answered,
) -> Answer:
    decision, care, policy, at = input.data, case.care, case.policy, input.time
    if care.name is None or care.birth_date is None:
        return Refusal(Reason.RECORD_MISSING)
    if policy.day(at) != policy.day(case.env.now):
        return Refusal(Common.CHANGED)  # signed before midnight; its dates would be wrong
    signed = signed_with(input)
    valid_on = policy.day(at) + timedelta(days=valid_days - 1)
    practitioner = state.get(Practitioner, actor.person)
    text = made_out(
        case.refill.but(changes=answer.changes),
        FormPatient(
            id=care.id,
            name=care.name,
            gender=care.gender or Gender.UNKNOWN,
            birth_date=care.birth_date,
        ),
        doctor_id=actor.person,
        doctor_name=practitioner.name if practitioner is not None else None,
        at=at,
        valid_on=valid_on,
        days_supply=answer.days_supply,
        policy=policy.version,
        nonce=case.env.secret() if signed is None else nonce_of(signed.text),
    ).text()
    sign = taken(input, state, actor, ROLE, text)
    if isinstance(sign, Refusal):
        return sign
    form = SignedForm(text=text, digest=digest(text), signatures=(sign.signature,))
    more = max(0, may_follow(case) - 1)
    allowed = (answer.changes or Changes()).refills_allowed
    refill = moved(
        case.refill,
        action,
        case.env,
        case.policy,
        by=actor,
        role=ROLE,
        comment=decision.comment,
        outcomes=outcomes,
        checks=checks,
        acknowledged=acknowledgements(decision.acknowledged, checks),
        changes=answer.changes,
        remaining=more if allowed is None else min(more, allowed),
        doctor_id=actor.person,
        signed_at=at,
        valid_on=valid_on,
        days_supply=answer.days_supply,
        patient_signature=decision.patient_signature,
        pharmacist_id=None,
        forms=(*case.refill.forms, form),
    )
    by = {**which(refill), "doctor_id": actor.person, "decided_at": case.env.now}
    return sign.beside(case.done(refill, case.account, _FACT[action](refill, by)))


def _approved(refill: Refill, by: dict[str, Any]) -> Event:
    return RefillDoctorApproved(**by, days_supply=refill.days_supply)


def _changed(refill: Refill, by: dict[str, Any]) -> Event:
    changes = refill.changes or Changes()
    return RefillDoctorChanged(
        **by,
        days_supply=refill.days_supply,
        quantity=refill.prescribed.quantity,
        refills_allowed=changes.refills_allowed,
    )


def _replaced(refill: Refill, by: dict[str, Any]) -> Event:
    order = refill.prescribed
    return RefillDoctorReplaced(
        **by,
        new_prescription_id=own_prescription(refill),
        dosage=order.dosage,
        strength=order.medication.strength,
        quantity=order.quantity,
        days_supply=refill.days_supply,
        refills_allowed=(refill.changes or Changes()).refills_allowed,
    )


_FACT = {Action.APPROVE: _approved, Action.CHANGE: _changed, Action.REPLACE: _replaced}
