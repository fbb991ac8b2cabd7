"""How many renewals are used up?

Counted are renewals that became effective since the last visit in person at the treating
department, both by the time when they happened and not when they were told: a late visit
is put where it belongs. What follows from what does not matter, since all prescriptions
of one ingredient share the account. A renewal's own prescription is no visit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime

from libs.common.decision import Document, Need, State
from services.prescriptions.domain.documents import (
    PatientCare,
    Refill,
    Renewal,
    RenewalAccount,
    Visit,
)
from services.prescriptions.domain.parameters import RENEWALS_KEPT
from services.prescriptions.domain.persons import ids_of, needs_patient, patient

#: Departments whose newest visit is kept for a patient; more than a hospital has.
VISITS_KEPT = 512


def account_id(patient_id: str, ingredient_code: str) -> str:
    return f"{patient_id}|{ingredient_code}"  # neither may hold a bar


def needs_account(state: State, hospital: str, patient_id: str, ingredient: str) -> Iterator[Need]:
    yield from needs_patient(state, patient_id)
    care = patient(state, hospital, patient_id)
    for id in ids_of(care):
        yield Need(RenewalAccount, "id", account_id(id, ingredient))


def account(
    care: PatientCare, ingredient: str, find: Callable[[str], RenewalAccount | None]
) -> tuple[RenewalAccount, list[Document]]:
    """The account, and those of merged records that it now has taken in; ``find`` by id.

    A merge unites what it finds; this also finds what was begun while it happened.
    """
    id = account_id(care.id, ingredient)
    own = find(id) or RenewalAccount(
        id=id, hospital=care.hospital, patient_id=care.id, ingredient_code=ingredient
    )
    taken_in: list[Document] = []
    for alias in care.aliases:
        other = find(account_id(alias, ingredient))
        if other is not None and (other.renewals or other.open):
            own = united(own, other)
            taken_in.append(other.but(renewals=(), open=()))
    return own, taken_in


def united(own: RenewalAccount, other: RenewalAccount) -> RenewalAccount:
    both: RenewalAccount = own.but(
        renewals=kept((*own.renewals, *other.renewals)),
        open=tuple(dict.fromkeys((*own.open, *other.open))),
    )
    return both


def kept(renewals: Iterable[Renewal]) -> tuple[Renewal, ...]:
    """The newest, each once. No limit is above this number, so none is miscounted."""
    by_refill = {r.refill_id: r for r in renewals}
    in_order = sorted(by_refill.values(), key=lambda r: (r.effective_at, r.refill_id))
    return tuple(in_order[-RENEWALS_KEPT:])


def used(account: RenewalAccount, care: PatientCare, department_code: str) -> int:
    """Renewals since the last visit in person at ``department_code``."""
    since = last_visit(care, department_code)
    return sum(since is None or r.effective_at >= since for r in account.renewals)


def last_visit(care: PatientCare, department_code: str) -> datetime | None:
    found = (v.occurred_at for v in care.visits if v.department_code == department_code)
    return next(found, None)


def with_visit(care: PatientCare, visit: Visit) -> PatientCare | None:
    """``care`` with ``visit``; None if a later one at the same department is known."""
    known = last_visit(care, visit.department_code)
    if known is not None and known >= visit.occurred_at:
        return None
    others = (v for v in care.visits if v.department_code != visit.department_code)
    newest = sorted((*others, visit), key=lambda v: (v.occurred_at, v.department_code))
    seen: PatientCare = care.but(visits=tuple(newest[-VISITS_KEPT:]))
    return seen


def with_asked(care: PatientCare, ingredients: Iterable[str], day: date) -> PatientCare:
    """``care`` with what was asked for on ``day``; only the last day is kept.

    What is then declined or taken back stays among it: it would have stood on the same
    prescription.
    """
    if care.asked_on is not None and care.asked_on > day:
        return care
    before = care.asked if care.asked_on == day else ()
    marked: PatientCare = care.but(
        asked_on=day, asked=tuple(dict.fromkeys((*before, *ingredients)))
    )
    return marked


def reserved(account: RenewalAccount, refill_id: str) -> RenewalAccount:
    taken: RenewalAccount = account.but(open=(*account.open, refill_id))
    return taken


def given_back(account: RenewalAccount, refill_id: str) -> RenewalAccount:
    freed: RenewalAccount = account.but(open=tuple(r for r in account.open if r != refill_id))
    return freed


def counted(account: RenewalAccount, refill: Refill, own: str, at: datetime) -> RenewalAccount:
    """The reserved place is used up by a renewal that is effective ``at``."""
    renewal = Renewal(
        refill_id=refill.id,
        prescription_id=own,
        effective_at=at,
        days_supply=refill.days_supply,
    )
    full: RenewalAccount = given_back(account, refill.id).but(
        renewals=kept((*account.renewals, renewal))
    )
    return full
