"""How much of an ingredient has a patient, and for which of the dosings that are taken of it?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from services.prescriptions.domain.documents import Order, RenewalAccount
from services.prescriptions.domain.dosing import beside
from services.prescriptions.domain.facts import Dispensed
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.origin import line_of
from services.prescriptions.domain.policy import RenewalPolicy


def taken_beside(
    id: str,
    order: Order,
    ingredients: Collection[str],
    account: RenewalAccount,
    orders: Mapping[str, Order],
    policy: RenewalPolicy,
) -> frozenset[str]:
    """What is taken beside the prescription ``id``, or beside what it goes on with."""
    line = line_of(id, order.refill_id, account, orders)
    first = orders.get(line) if line is not None else None
    return beside(first, account, orders, ingredients, policy.day) if first else frozenset()


def supplied(
    id: str,
    order: Order,
    ingredients: Collection[str],
    account: RenewalAccount,
    orders: Mapping[str, Order],
    fulfilments: Iterable[Fulfilment],
    policy: RenewalPolicy,
) -> Dispensed | None:
    """The last supply of one of the ``ingredients`` that is taken as the prescription ``id`` says,
    and for how many days: not of what a doctor prescribed to be taken beside it, nor of that
    one's renewals. What is known of none counts for each.

    It is from when it was dispensed, where a pharmacy told, else from when it was prescribed.
    What came back to the pharmacy is none, nor is a renewal that lapsed or was withheld, unless a
    pharmacy tells otherwise.
    """
    others = taken_beside(id, order, ingredients, account, orders, policy)
    none = {r.refill_id for r in account.renewals if not r.supplied}
    told = [
        (rx, each.refill_id, each.issued_at, each.days_supply)
        for rx, each in orders.items()
        if each.medication.ingredient_code in ingredients
        and each.refill_id not in account.open  # its own, told before it is in effect
    ]
    renewed = [
        (r.prescription_id, r.refill_id, r.effective_at, r.days_supply) for r in account.renewals
    ]
    handed: dict[str, list[Fulfilment]] = defaultdict(list)
    of_renewal: dict[str, list[Fulfilment]] = defaultdict(list)
    for fulfilment in fulfilments:
        handed[fulfilment.prescription_id].append(fulfilment)
        if fulfilment.refill_id is not None:  # whatever the prescription is called there
            of_renewal[fulfilment.refill_id].append(fulfilment)
    supplies = []
    for rx, refill_id, at, days in (*told, *renewed):
        if line_of(rx, refill_id, account, orders) in others:
            continue
        parts = [*handed[rx], *of_renewal[refill_id or ""]]
        begun = min((f.handed_at for f in parts if f.handed_at is not None), default=None)
        nothing = refill_id in none or any(f.is_back for f in parts)
        if begun is not None or not nothing:
            supplies.append(Dispensed(at=begun or at, days=days))
    return max(supplies, key=lambda d: (d.at, d.days or 0), default=None)
