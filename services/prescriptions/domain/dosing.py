"""Is it the same that is taken, in the same way?

Hospitals spell one medicine in many ways, and not all of them tell its strength or for how many
days it lasts. What nobody told differs from nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime

from libs.common.events import Medication, Quantity
from services.prescriptions.domain.documents import Order, Prescription, Refill, RenewalAccount
from services.prescriptions.domain.facts import Redosed
from services.prescriptions.domain.origin import is_copy, of_one_therapy, renewal_of

#: A strength as it stands in a name: 5 mg, 0.5g, 5毫克. How many of a pack there are is none.
_STRENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(mg|g|[uµμ]g|mcg|iu|u|ml|%|毫克|微克|克|单位|毫升)(?![a-z])"
)
_GRAMS = {"g": 1.0, "克": 1.0, "mg": 1e-3, "毫克": 1e-3} | dict.fromkeys(
    ("ug", "µg", "μg", "mcg", "微克"), 1e-6
)
#: Two amounts a day that differ by less are one: packs hold a little more than their days.
_ALIKE = 0.2


def same_regimen(one: Order, other: Order) -> bool:
    """Whether the same medicine is taken in the same way."""
    a, b = one.medication, other.medication
    same = a.code == b.code and (a.ingredient_code == b.ingredient_code or a.name == b.name)
    return same and _same_dosing(one, other)


def is_correction(known: Order, told: Order) -> bool:
    """Whether one prescription is told otherwise than it was. Another quantity for days that
    nobody told may be another dosing."""
    a, b = known.quantity, told.quantity
    timed = known.days_supply is not None and told.days_supply is not None
    more = not timed and a is not None and b is not None and a.unit == b.unit and a != b
    return more or not same_regimen(known, told)


def _same_dosing(one: Order, other: Order) -> bool:
    return (
        (
            one.dosage_assumed
            or other.dosage_assumed
            or " ".join(one.dosage.split()) == " ".join(other.dosage.split())
        )
        and _same_strength(one.medication, other.medication)
        and _same_amount(one.quantity, one.days_supply, other.quantity, other.days_supply)
    )


def same_amount(one: Order, other: Order) -> bool:
    """Whether as much of one strength is taken a day."""
    return _same_strength(one.medication, other.medication) and _same_amount(
        one.quantity, one.days_supply, other.quantity, other.days_supply
    )


def _same_strength(one: Medication, other: Medication) -> bool:
    a, b = _strength(one), _strength(other)
    if a and b:
        return a <= b or b <= a  # a name may say a salt's, or the last one's alone
    told = (one.strength or "", other.strength or "")
    numbers = [re.findall(r"\d+(?:\.\d+)?", unicodedata.normalize("NFKC", s)) for s in told]
    return bool(a or b) or not all(numbers) or numbers[0] == numbers[1]


def _strength(medication: Medication) -> frozenset[tuple[float, str]]:
    """As it is told, or as the name says it; empty: neither does."""
    for told in (medication.strength, medication.name):
        plain = unicodedata.normalize("NFKC", told or "").lower()
        if found := _STRENGTH.findall(plain):
            return frozenset(
                (round(float(n) * _GRAMS[unit], 9), "g") if unit in _GRAMS else (float(n), unit)
                for n, unit in found
            )
    return frozenset()


def _same_amount(
    one: Quantity | None, days: int | None, other: Quantity | None, other_days: int | None
) -> bool:
    """Whether as much is taken a day."""
    if one is None or other is None or days is None or other_days is None:
        return True
    a, b = one.value / days, other.value / other_days
    return one.unit != other.unit or abs(a - b) < _ALIKE * max(a, b)


def replaced(
    prescription: Prescription, order: Order, account: RenewalAccount, renewal: Refill | None
) -> bool:
    """Whether it says a dosing that the hospital has corrected, or a renewal has changed since.
    What the hospital issues in that renewal's name says the new one, whatever its time, if it
    says what was renewed. ``renewal``: what is itself in question."""
    if prescription.order is not None and is_correction(prescription.order, order):
        return True
    own = renewal_of(prescription.id, order, account)
    if own is not None and own.medication is not None:
        a, b = own.medication, order.medication
        if not (
            (a.code == b.code or a.name == b.name)
            and _same_strength(a, b)
            and _same_amount(own.quantity, own.days_supply, order.quantity, order.days_supply)
        ):
            return True
    last = next((r for r in reversed(account.renewals) if r.replaces), None)
    if last is None or last is own or (renewal is not None and renewal.id == last.refill_id):
        return False
    return (own.effective_at if own is not None else order.issued_at) <= last.effective_at


def beside(
    order: Order,
    account: RenewalAccount,
    orders: Mapping[str, Order],
    ingredients: Collection[str],
    day: Callable[[datetime], date],
) -> frozenset[str]:
    """What doctors prescribed on the ``day`` of a doctor's ``order`` in another strength or amount
    a day, to be taken beside it, as in the morning and in the evening. What differs in words
    alone may be the same one under two numbers."""
    return frozenset(
        id
        for id, other in orders.items()
        if of_one_therapy(other, order, ingredients)
        and not is_copy(id, other, account)
        and day(other.issued_at) == day(order.issued_at)
        and not same_amount(other, order)
    )


def redosed(
    prescription_id: str,
    order: Order,
    account: RenewalAccount,
    prescriptions: Iterable[Prescription],
    ingredients: Collection[str],
) -> Iterator[Redosed]:
    """What a doctor prescribed with another dosing than ``order``, beside it or instead."""
    for p in prescriptions:
        if (
            p.order is not None
            and p.id != prescription_id
            and of_one_therapy(p.order, order, ingredients)
            and not is_copy(p.id, p.order, account)
            and not _same_dosing(p.order, order)
        ):
            yield Redosed(at=p.order.issued_at, until=p.stopped_at)
