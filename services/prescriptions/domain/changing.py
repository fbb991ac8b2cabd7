"""What may a doctor prescribe otherwise than it was ordered?

As NCPDP SCRIPT's answers to a renewal: *approved with changes* alters how much is dispensed
and how often it may be renewed, *replaced* how it is taken. Nothing passes as the lesser of
the two: another dose hidden in a quantity is no change of the quantity.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from libs.common.decision import Refusal
from services.prescriptions.domain.documents import Changes, Order
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Action

#: Words that a prescription must not say (处方管理办法 第六条), or their like in English.
VAGUE = frozenset({"遵医嘱", "自用", "as directed"})

#: What each answer may say of the prescription.
SAYS: dict[Action, frozenset[str]] = {
    Action.APPROVE: frozenset({"days_supply"}),  # where the order does not
    Action.CHANGE: frozenset({"quantity", "days_supply", "refills_allowed"}),
    Action.REPLACE: frozenset(Changes.model_fields),
}


class Answered(NamedTuple):
    """What is prescribed: for how many days, and what of it is changed."""

    days_supply: int
    changes: Changes | None = None


def answered(action: Action, asked: Changes, order: Order, most: int) -> Answered | Refusal:
    """``order`` as the doctor ``asked`` to have it; ``most`` renewals may follow this one."""
    missing = unsaid(asked.of(order))
    if missing is not None:
        return missing
    if action is Action.APPROVE:
        return _as_it_was(asked.days_supply, order)
    if asked.refills_allowed is not None and asked.refills_allowed > most:
        return Refusal(Reason.REFILLS_TOO_MANY, extra={"most": most})
    if action is Action.REPLACE:
        days = _no_replacement(asked, order) or asked.days_supply
    else:
        days = _days(asked, order)
    if isinstance(days, Refusal):
        return days
    if days is None:
        return Refusal(Reason.DAYS_SUPPLY_MISSING)
    strength = order.medication.strength
    changes = Changes(
        quantity=asked.quantity if asked.quantity != order.quantity else None,
        days_supply=days if days != order.days_supply else None,
        dosage=asked.dosage if order.dosage_assumed or asked.dosage != order.dosage else None,
        strength=asked.strength if asked.strength != strength else None,
        refills_allowed=asked.refills_allowed,
    )
    if changes == Changes() or (action is Action.REPLACE and not changes.replaces):
        return Refusal(Reason.NO_CHANGE)
    return Answered(days, changes)


def foreign(action: Action, asked: Changes) -> Refusal | None:
    """No, if ``action`` has no say in something that was asked."""
    fields = sorted(asked.model_dump(exclude_none=True).keys() - SAYS.get(action, frozenset()))
    if not fields:
        return None
    return Refusal(Reason.NOT_OF_THIS_DECISION, extra={"fields": ", ".join(fields)})


def unsaid(order: Order) -> Refusal | None:
    """No, if ``order`` does not say how it is taken, or how much of it is dispensed: nobody signs
    a prescription without either (处方管理办法 第六条、附件 1)."""
    if order.dosage_assumed or order.dosage.strip(" 。.").lower() in VAGUE:
        return Refusal(Reason.DOSAGE_MISSING, extra={"field": "dosage"})
    if order.quantity is None:
        return Refusal(Reason.QUANTITY_MISSING, extra={"field": "quantity"})
    return None


def _as_it_was(given: int | None, order: Order) -> Answered | Refusal:
    told = order.days_supply
    if told is not None and given not in (None, told):
        return Refusal(Reason.DAYS_SUPPLY_FIXED, extra={"days_supply": told})
    days = told or given
    return Refusal(Reason.DAYS_SUPPLY_MISSING) if days is None else Answered(days)


def _days(asked: Changes, order: Order) -> int | Refusal | None:
    """For how many days the quantity lasts. By the dosing as it is ordered: so that twice as
    much for as long, which is another dosing, is none of the answers."""
    quantity, told = asked.quantity or order.quantity, order.days_supply
    if order.quantity is None or quantity is None or told is None:
        return asked.days_supply or told
    if quantity.unit != order.quantity.unit:
        return Refusal(Reason.UNIT_FIXED, extra={"unit": order.quantity.unit})
    lasts = told * Fraction(str(quantity.value)) / Fraction(str(order.quantity.value))
    least = max(1, int(lasts))
    # A pack may hold a little more than its days: the doctor may round up.
    if asked.days_supply in (None, least, -int(-lasts // 1)):
        return asked.days_supply or least
    return Refusal(Reason.DAYS_OF_QUANTITY, extra={"days_supply": least})


def _no_replacement(asked: Changes, order: Order) -> Refusal | None:
    """A new prescription says all of it anew: nothing of the old dosing is left by accident."""
    if asked.dosage is None:
        return Refusal(Reason.DOSAGE_MISSING)
    if asked.quantity is None:
        return Refusal(Reason.QUANTITY_MISSING)
    strength = order.medication.strength
    if asked.strength in (None, strength):
        return None
    # The name would go on saying the old one.
    if strength is None or strength in order.medication.name:
        return Refusal(Reason.STRENGTH_FIXED)
    return None
