"""When did a doctor see the patient for a prescription?

A renewal comes back from the hospital as a prescription of its own. Nobody saw the patient for
that one: since when a rule asks is told by what a doctor prescribed before, and when that is
stopped its copies are. What is only told to follow from another prescription may be a copy, or a
doctor's at a visit, which then is told: nobody is taken to have seen the patient for it, either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from services.prescriptions.domain.documents import (
    Order,
    Prescription,
    Renewal,
    RenewalAccount,
)


class Origin(NamedTuple):
    #: When a doctor prescribed it to a patient whom they saw. None: nobody told.
    seen_at: datetime | None
    #: Since when all that it may come from is stopped.
    stopped_at: datetime | None = None


def origin(
    id: str,
    order: Order,
    account: RenewalAccount,
    prescriptions: Iterable[Prescription],
    ingredients: Collection[str],
    others: Collection[str] = (),
) -> Origin:
    """Where the prescription ``id`` comes from, which says ``order``; ``ingredients``: all codes
    of its ingredient; ``others``: what is taken beside it."""
    copy = is_copy(id, order, account)
    if not copy and order.based_on is None:
        return Origin(order.issued_at)
    doctors = [
        p
        for p in prescriptions
        if p.order is not None
        and p.id not in others
        and of_one_therapy(p.order, order, ingredients)
        and not is_copy(p.id, p.order, account)
    ]
    seen = (p.order.issued_at for p in doctors if p.order is not None and p.order.based_on is None)
    stops = [p.stopped_at for p in doctors if p.stopped_at is not None]
    over = copy and stops and len(stops) == len(doctors)
    return Origin(max(filter(None, seen), default=None), max(stops) if over else None)


def of_one_therapy(order: Order, other: Order, ingredients: Collection[str]) -> bool:
    """Whether a department prescribed both, of one of the ``ingredients``."""
    return (
        order.medication.ingredient_code in ingredients
        and other.medication.ingredient_code in ingredients
        and order.department.code == other.department.code
    )


def renewal_of(id: str, order: Order, account: RenewalAccount) -> Renewal | None:
    """The renewal whose own prescription this is."""
    return next(
        (r for r in account.renewals if order.refill_id == r.refill_id or id == r.prescription_id),
        None,
    )


def line_of(
    id: str, refill_id: str | None, account: RenewalAccount, orders: Mapping[str, Order]
) -> str | None:
    """What a doctor prescribed that the prescription ``id`` goes on with, which is told in the
    name of ``refill_id`` or of no renewal: itself, or by its renewals an earlier one. None: not
    known. ``orders`` by their prescriptions."""
    for _ in range(len(account.renewals) + 1):  # an order may be told in the name of its own
        renewal = next(
            (r for r in account.renewals if r.refill_id == refill_id or r.prescription_id == id),
            None,
        )
        if renewal is None:
            return id if refill_id is None else None
        if renewal.based_on is None:
            return None
        id = renewal.based_on
        refill_id = orders[id].refill_id if id in orders else None
    return None


def is_copy(id: str, order: Order, account: RenewalAccount) -> bool:
    """Whether it is told in the name of a renewal."""
    return order.refill_id is not None or renewal_of(id, order, account) is not None
