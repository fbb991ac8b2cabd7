"""How many renewals are used up?

Counted are renewals that became effective since the last visit in person at the treating
department, both by the time when they happened and not when they were told: a late visit
is put where it belongs. What follows from what does not matter, since all prescriptions
of one ingredient share the account, whichever code the hospital has for it by now. A
renewal's own prescription is no visit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime

from libs.common.decision import Document, Need, State
from services.prescriptions.domain.documents import (
    Changes,
    PatientCare,
    Refill,
    Renewal,
    RenewalAccount,
    Visit,
)
from services.prescriptions.domain.facts import Renewed, counting, still_allowed
from services.prescriptions.domain.parameters import RENEWALS_KEPT
from services.prescriptions.domain.persons import ids_of, needs_patient, patient

#: Visits that are kept of one department, the newest: so many may be taken back before an older
#: one is missed, without which more renewals count, never fewer.
VISITS_KEPT = 16
#: And of one patient; more than a hospital has departments.
MOST_VISITS = 512


def account_id(patient_id: str, ingredient_code: str) -> str:
    return f"{patient_id}|{ingredient_code}"  # neither may hold a bar


def codes_of(care: PatientCare, ingredient: str) -> tuple[str, ...]:
    """All codes under which the hospital told of ``ingredient``."""
    return next((codes for codes in care.alike if ingredient in codes), (ingredient,))


def with_alike(care: PatientCare, ingredients: Iterable[str]) -> PatientCare:
    """``care`` where ``ingredients`` are codes of one ingredient."""
    told = tuple(ingredients)
    same = tuple(dict.fromkeys(code for one in told for code in codes_of(care, one)))
    if not same or same == codes_of(care, same[0]):
        return care
    others = (codes for codes in care.alike if not set(codes) & set(same))
    known: PatientCare = care.but(alike=(*others, same))
    return known


def needs_account(state: State, hospital: str, patient_id: str, ingredient: str) -> Iterator[Need]:
    yield from needs_patient(state, patient_id)
    care = patient(state, hospital, patient_id)
    for id in _account_ids(care, codes_of(care, ingredient)):
        yield Need(RenewalAccount, "id", id)


def _account_ids(care: PatientCare, ingredients: Iterable[str]) -> list[str]:
    """The account's own, and those of merged records and other codes."""
    ids = (care.id, *care.aliases)
    return [account_id(id, ingredient) for ingredient in ingredients for id in ids]


def account(
    care: PatientCare, ingredient: str, find: Callable[[str], RenewalAccount | None]
) -> tuple[RenewalAccount, list[Document]]:
    """The account, and those of merged records and other codes that it now has taken in;
    ``find`` by id.

    A merge unites what it finds; this also finds what was begun while it happened.
    """
    codes = codes_of(care, ingredient)
    id, *others = _account_ids(care, codes)
    own = find(id) or RenewalAccount(
        id=id, hospital=care.hospital, patient_id=care.id, ingredient_code=codes[0]
    )
    taken_in: list[Document] = []
    for each in others:
        other = find(each)
        if other is not None and (other.renewals or other.open):
            own = united(own, other)
            taken_in.append(emptied(other))
    return own, taken_in


def needs_accounts(care: PatientCare) -> Iterator[Need]:
    for id in sorted(ids_of(care)):
        yield Need(RenewalAccount, "patient_id", id)


def all_accounts(state: State, care: PatientCare) -> list[RenewalAccount]:
    """All of the patient's, whichever medicine they are of."""
    ids = sorted(ids_of(care))
    return [a for id in ids for a in state.where(RenewalAccount, "patient_id", id)]


def united(own: RenewalAccount, other: RenewalAccount) -> RenewalAccount:
    both: RenewalAccount = own.but(
        renewals=kept((*own.renewals, *other.renewals)),
        open=tuple(dict.fromkeys((*own.open, *other.open))),
        watched=tuple(dict.fromkeys((*own.watched, *other.watched))),
    )
    return both


def emptied(account: RenewalAccount) -> RenewalAccount:
    """``account`` when another has taken it in."""
    nothing: RenewalAccount = account.but(renewals=(), open=(), watched=())
    return nothing


def kept(renewals: Iterable[Renewal]) -> tuple[Renewal, ...]:
    """The newest, each once. No limit is above this number, so none is miscounted."""
    by_refill = {r.refill_id: r for r in renewals}
    in_order = sorted(by_refill.values(), key=lambda r: (r.effective_at, r.refill_id))
    return tuple(in_order[-RENEWALS_KEPT:])


def used(account: RenewalAccount, care: PatientCare, department_code: str) -> int:
    """Renewals since the last visit in person at ``department_code``."""
    return len(_counting(account, care, department_code))


def left(account: RenewalAccount, care: PatientCare, department_code: str, limit: int) -> int:
    """Renewals that may still follow until the next visit in person."""
    return still_allowed(_counting(account, care, department_code), limit)


def _counting(
    account: RenewalAccount, care: PatientCare, department_code: str
) -> Sequence[Renewed]:
    return counting(renewed(account), last_visit_at(care, department_code))


def renewed(account: RenewalAccount) -> tuple[Renewed, ...]:
    return tuple(
        Renewed(at=r.effective_at, refills_allowed=r.refills_allowed, replaces=r.replaces)
        for r in account.renewals
    )


def last_visit(care: PatientCare, department_code: str) -> Visit | None:
    """The last one in person at ``department_code`` that stands."""
    theirs = (v for v in reversed(care.visits) if v.department_code == department_code)
    return next((v for v in theirs if v.took_place_at is not None), None)


def last_visit_at(care: PatientCare, department_code: str) -> datetime | None:
    visit = last_visit(care, department_code)
    return visit.took_place_at if visit is not None else None


def with_visit(care: PatientCare, told: Visit) -> PatientCare | None:
    """``care`` with what is ``told`` of a visit; None if that changes nothing."""
    known = next((v for v in care.visits if v.visit_id == told.visit_id), None)
    others = (v for v in care.visits if v is not known)
    by_department: dict[str, list[Visit]] = defaultdict(list)
    for visit in sorted((*others, known.united(told) if known else told), key=lambda v: v.place):
        by_department[visit.department_code].append(visit)
    newest = (v for visits in by_department.values() for v in visits[-VISITS_KEPT:])
    visits = tuple(sorted(newest, key=lambda v: v.place)[-MOST_VISITS:])
    seen: PatientCare | None = care.but(visits=visits) if visits != care.visits else None
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


def counted(
    account: RenewalAccount, refill: Refill, own: str, at: datetime, days_supply: int
) -> RenewalAccount:
    """The reserved place is used up by a renewal that is effective ``at``."""
    changes = refill.changes or Changes()
    renewal = Renewal(
        refill_id=refill.id,
        prescription_id=own,
        based_on=refill.prescription_id,
        effective_at=at,
        medication=refill.prescribed.medication,
        quantity=refill.prescribed.quantity,
        days_supply=days_supply,
        refills_allowed=changes.refills_allowed,
        replaces=changes.replaces,
    )
    full: RenewalAccount = given_back(account, refill.id).but(
        renewals=kept((*account.renewals, renewal)),
        watched=(*account.watched, refill.id),
    )
    return full


def unsupplied(account: RenewalAccount, refill_id: str) -> RenewalAccount:
    """Nothing was dispensed on ``refill_id``, as far as is known. It goes on counting."""
    renewals = tuple(
        r.model_copy(update={"supplied": False}) if r.refill_id == refill_id else r
        for r in account.renewals
    )
    without: RenewalAccount = account.but(renewals=renewals)
    return without


def settled(account: RenewalAccount, refill_id: str) -> RenewalAccount:
    """Nothing that is told concerns ``refill_id`` any more."""
    rest: RenewalAccount = account.but(watched=tuple(r for r in account.watched if r != refill_id))
    return rest
