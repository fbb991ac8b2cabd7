"""What does a prescription say that is told first, told again, or told after a renewal?

A feed sends what it has sent before, with a new time and perhaps without what it said once; and an
order may name the renewal that it brings into the hospital's system, or one that it only follows.
"""

from __future__ import annotations

from typing import Any

from libs.common.events import Medication, PrescriptionIssued
from services.prescriptions.domain.documents import Order, Refill
from services.prescriptions.domain.dosing import is_correction, same_amount
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.substances import is_atc


def order_of(told: PrescriptionIssued) -> Order:
    return Order.model_validate(told.model_dump(exclude={*map(str, told.assumed)}))


def again(order: Order, known: Order) -> Order:
    """``order``, which under the same number is ``known``, too: what it leaves out stays, and if
    nothing else changed it was not prescribed anew."""
    kept: dict[str, Any] = {}
    if order.refill_id is None:
        kept["refill_id"] = known.refill_id
    if order.based_on is None:
        kept["based_on"] = known.based_on
    if not is_correction(known, order):
        kept["issued_at"] = min(order.issued_at, known.issued_at)
        if order.dosage_assumed:
            kept |= {"dosage": known.dosage, "dosage_assumed": known.dosage_assumed}
        if order.quantity is None and order.days_supply is None:
            kept |= {"quantity": known.quantity, "days_supply": known.days_supply}
    return order.model_copy(update=kept)


def is_a_doctors(order: Order, refill: Refill, policy: RenewalPolicy) -> bool:
    """Whether ``order``, which names ``refill``, is another dosing from when that was over: a
    doctor's, that only follows from it."""
    over = refill.valid_on is not None and policy.day(order.issued_at) > refill.valid_on
    return over and not same_amount(refill.prescribed, order)


def may_be_one(told: Medication, known: Medication | None) -> bool:
    """Whether two may be one medicine: not two codes of ATC, two names and two ingredients."""
    return (
        known is None
        or told.ingredient_code == known.ingredient_code
        or told.code == known.code
        or told.name == known.name
        or not (is_atc(told.code) and is_atc(known.code))
    )
