"""What follows for a renewal from what pharmacies have told?

Where it stands, what is published, and what the patient's side is told: of one report that
comes, and of those that were kept before the renewal or its prescription was known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from libs.common.decision import Decision, Emit, Env, Need, State
from libs.common.events import (
    FulfilmentMethod,
    FulfilmentStatus,
    RefillCollected,
    RefillDelivered,
    RefillDispensed,
    RefillReturnedToStock,
)
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.fulfilment import (
    ACTIONS,
    HANDED,
    Fulfilment,
    Irregular,
    Report,
    declined_at,
    dispensed_by,
    irregular,
    standing,
)
from services.prescriptions.domain.persons import ids_of
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.steps import moved, possible, which
from services.prescriptions.domain.told import TEMPLATES, pushed
from services.prescriptions.domain.transitions import FULFILLED, Action, Status

ROLE: Final = "pharmacy"

S = FulfilmentStatus
_TOLD: Final[Mapping[FulfilmentStatus, str]] = {
    S.DECLINED: "refill.pharmacy_declined",
    **{status: TEMPLATES[FULFILLED[action]] for status, action in ACTIONS.items()},
}
_FACTS: Final = {
    S.DISPENSED: RefillDispensed,
    S.COLLECTED: RefillCollected,
    S.DELIVERED: RefillDelivered,
    S.RETURNED_TO_STOCK: RefillReturnedToStock,
}


def followed(
    refill: Refill, fulfilments: Iterable[Fulfilment], env: Env, policy: RenewalPolicy
) -> Refill:
    """``refill`` where its dispensings have brought it, and what is wrong with them."""
    all = tuple(fulfilments)
    wrong = sorted({w for f in all for w in irregular(refill, f, policy)})
    choice = refill.fulfilment
    if choice is not None:
        choice = choice.model_copy(update={"declined_at": declined_at(refill, all)})
    by = dispensed_by(all)
    after: Refill = refill.but(irregular=tuple(wrong), fulfilment=choice, dispensed_by=by)
    action = standing(all)
    if action is None or FULFILLED[action] is refill.status or not possible(refill, action):
        return after
    lay_ready = action is Action.DISPENSE and Irregular.WITHHELD not in wrong
    stood_so = refill.history[-1].from_status is FULFILLED[action]
    if refill.status is Status.WITHHELD and (lay_ready or stood_so):
        return after  # what was dispensed, or back in stock, before it was void is void, too
    return moved(after, action, env, policy, role=ROLE, reason=next(iter(wrong), None))


def published(
    refill: Refill,
    fulfilment: Fulfilment,
    reports: Sequence[Report],
    care: PatientCare,
    policy: RenewalPolicy,
) -> list[Emit]:
    """The facts of ``reports``, which are new, and what the patient's side is told of them:
    where the medicine is now, and not what it has passed."""
    events = []
    if refill.new_prescription_id is not None:
        events += [_fact(refill, fulfilment, r) for r in reports if r.status in _FACTS]
    latest = fulfilment.latest
    if latest in reports and latest.status in _TOLD and care.deceased_at is None:
        if latest.status is S.DECLINED and refill.status is not Status.EFFECTIVE:
            return events  # another pharmacy has it, or nobody needs it any more
        key = f"{fulfilment.id}:{latest.status}:{latest.at.isoformat()}"
        events.append(pushed(refill, _template(refill, latest), key, latest.at, policy))
    return events


def _template(refill: Refill, report: Report) -> str:
    if refill.withheld_at is not None and report.status in HANDED:
        return TEMPLATES[Status.WITHHELD]  # whoever has it is not told to take it
    choice = refill.fulfilment
    delivered = choice is not None and choice.method is FulfilmentMethod.DELIVERY
    if report.status is S.DISPENSED and delivered:
        return "refill.on_its_way"
    return _TOLD[report.status]


def _fact(refill: Refill, fulfilment: Fulfilment, report: Report) -> Emit:
    more = {"reason": report.reason} if report.status is S.RETURNED_TO_STOCK else {}
    fact = _FACTS[report.status](
        **which(refill),
        new_prescription_id=refill.new_prescription_id,
        fulfilment_id=fulfilment.id,
        pharmacy_id=report.pharmacy_id,
        occurred_at=report.at,
        **more,
    )
    return Emit(fact, refill)


def needs_dispensed(prescription_id: str, refill_id: str) -> Iterator[Need]:
    yield Need(Fulfilment, "prescription_id", prescription_id)
    yield Need(Fulfilment, "refill_id", refill_id)


def caught_up(
    decision: Decision,
    refill: Refill,
    prescription_id: str,
    care: PatientCare,
    state: State,
    env: Env,
    *,
    takes_effect: bool = False,
) -> Decision:
    """``decision``, which leaves ``refill`` and makes ``prescription_id`` its own, with what
    pharmacies had told of it before and was not published yet: if it ``takes_effect`` just now,
    all of it; else what was not known to be of it."""
    told = state.where(Fulfilment, "prescription_id", prescription_id)
    known = {f.id: f for f in state.where(Fulfilment, "refill_id", refill.id)}
    theirs = (f for f in told if f.patient_id in ids_of(care) and f.refill_id != refill.id)
    new = [f.but(refill_id=refill.id) for f in theirs]
    if not new and not (takes_effect and known):
        return decision
    policy: RenewalPolicy = env.policy.at(env.now)
    known |= {f.id: f for f in new}
    unpublished = [*known.values()] if takes_effect else new
    after = followed(refill, known.values(), env, policy)
    return replace(
        decision,
        changes=(*(c for c in decision.changes if c is not refill), after, *new),
        events=(
            *decision.events,
            *(e for f in unpublished for e in published(after, f, f.reports, care, policy)),
        ),
    )
