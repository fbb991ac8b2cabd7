"""What follows for a patient's renewals from what the hospital told?

Looked at are those that are open, and those in effect of which anything may still come to the
patient: of which nothing was dispensed, or a part, or what was lies ready or is on its way. Who
has all of it is told to ask a doctor, of what the policy says, until it is used up. What
the rules now say decides, and not which event came: so facts may come late, twice and in
any order. After a death or a stop nothing is left to decide, and an open request is closed.
After a diagnosis, an admission or an allergy a doctor looks again. What is in effect is
withheld either way, since nobody would look again before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from libs.common.decision import (
    Answer,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    State,
    Timer,
    by_id,
)
from libs.common.events.base import Id
from services.prescriptions.domain.accounts import all_accounts
from services.prescriptions.domain.chart import Chart, gather, needs_records
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Outcome
from services.prescriptions.domain.fulfilment import Fulfilment, is_at_home, to_come
from services.prescriptions.domain.origin import line_of
from services.prescriptions.domain.persons import ids_of, needs_patient, patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import TOLD, evaluate, refusals
from services.prescriptions.domain.steps import Over, suspended, timers
from services.prescriptions.domain.stopping import stopped, unseen, warned
from services.prescriptions.domain.transitions import STAGE

LOOK_AGAIN = "patient.look_again"


class LookAgain(BaseModel):
    """What was told of this patient for later has come."""

    model_config = ConfigDict(frozen=True)

    patient_id: Id


@dataclass(slots=True)
class Consequences:
    """What a decision adds to what it writes of the fact itself."""

    changes: list[Document] = field(default_factory=list)
    events: list[Emit] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)


def added(decision: Decision, follows: Consequences) -> Decision:
    """``decision`` with what follows from it; of one document the later form holds."""
    changes = {(type(d), d.id): d for d in (*decision.changes, *follows.changes)}
    return replace(
        decision,
        changes=tuple(changes.values()),
        events=(*decision.events, *follows.events),
        timers=(*decision.timers, *follows.timers),
    )


#: What stands against a renewal, the first in the policy's order first, and what the rules said.
Judged = tuple[Sequence[Reason], tuple[Outcome, ...]]


def needs_consequences(state: State, hospital: str, patient_id: str) -> Iterator[Need]:
    """All of a patient's accounts, what may still be stopped in them, and if there is any
    what the rules look at."""
    yield from needs_patient(state, patient_id)
    yield from needs_stoppable(state, ids_of(patient(state, hospital, patient_id)))


def needs_stoppable(state: State, ids: frozenset[str]) -> Iterator[Need]:
    found = False
    for id in sorted(ids):
        yield Need(RenewalAccount, "patient_id", id)
        for account in state.where(RenewalAccount, "patient_id", id):
            yield from by_id(Refill, *account.open, *account.watched)
            found = found or bool(account.open or account.watched)
    if found:
        yield from needs_records(ids)


def consequences(
    state: State,
    care: PatientCare,
    env: Env,
    *told: Document,
    accounts: Sequence[RenewalAccount] | None = None,
) -> Consequences:
    """What the rules, with what was just ``told``, say of the patient's renewals now."""
    policy: RenewalPolicy = env.policy.at(env.now)
    if accounts is None:
        accounts = all_accounts(state, care)
    if not any(a.open or a.watched for a in accounts):
        return Consequences()
    chart = Chart.of(state, care)
    for document in told:
        chart = chart.but(document)

    def judge(refill: Refill, account: RenewalAccount) -> Judged:
        outcomes = _judged(refill, care, account, chart, env.now, policy)
        new = unseen(refill, outcomes)
        return [*refusals(outcomes, policy), *([new] if new else [])], outcomes

    return _followed(state, care, accounts, env, policy, judge)


def corrected(state: State, care: PatientCare, env: Env, prescription_id: str) -> Consequences:
    """What follows for the renewals of a prescription that never was the patient's."""
    reason = Reason.PRESCRIPTION_STOPPED

    def judge(refill: Refill, account: RenewalAccount) -> Judged:
        id, orders = refill.prescription_id, Chart.of(state, care).orders
        line = line_of(id, refill.order.refill_id, account, orders)
        return ([reason] if prescription_id in (id, line) else []), ()

    policy: RenewalPolicy = env.policy.at(env.now)
    return _followed(state, care, all_accounts(state, care), env, policy, judge)


def _followed(
    state: State,
    care: PatientCare,
    accounts: Sequence[RenewalAccount],
    env: Env,
    policy: RenewalPolicy,
    judge: Callable[[Refill, RenewalAccount], Judged],
) -> Consequences:
    """What is written of each renewal against which ``judge`` has something."""
    follows = Consequences()
    for account in accounts:
        changed = account
        for refill_id in (*account.open, *account.watched):
            refill = state.get(Refill, refill_id)
            if refill is None:
                continue
            over: Over | None = None
            if _may_be_stopped(refill, state, care, env.now, policy):
                reasons, outcomes = judge(refill, account)
                if reasons:
                    over = stopped(refill, care, changed, reasons[0], env, policy, outcomes)
            elif is_at_home(refill):
                over = warned(refill, care, changed, *judge(refill, account), env, policy)
            if over is not None:
                refill, changed, events = over
                follows.changes.append(refill)
                follows.events += events
                follows.timers += timers(refill, env.now, policy)
        if changed is not account:
            follows.changes.append(changed)
    return follows


def outdated(
    state: State, care: PatientCare, account: RenewalAccount, env: Env, policy: RenewalPolicy
) -> tuple[RenewalAccount, list[Document], list[Emit]]:
    """A renewal takes effect that changes the dosing: of those before it nothing more is handed
    out, or the patient would have both."""
    changes: list[Document] = []
    events: list[Emit] = []
    for refill_id in account.watched:
        refill = state.get(Refill, refill_id)
        if refill is not None and _may_be_withheld(refill, state, care, env.now, policy):
            reason = Reason.PRESCRIPTION_REPLACED
            over, account, facts = suspended(refill, care, account, reason, env, policy)
            changes.append(over)
            events += facts
    return account, changes, events


def _may_be_stopped(
    refill: Refill, state: State, care: PatientCare, now: datetime, policy: RenewalPolicy
) -> bool:
    return refill.status in STAGE or _may_be_withheld(refill, state, care, now, policy)


def _may_be_withheld(
    refill: Refill, state: State, care: PatientCare, now: datetime, policy: RenewalPolicy
) -> bool:
    ids = sorted(ids_of(care))
    told = (f for id in ids for f in state.where(Fulfilment, "patient_id", id))
    return to_come(refill, (f for f in told if f.refill_id == refill.id), now, policy)


def _judged(
    refill: Refill,
    care: PatientCare,
    account: RenewalAccount,
    chart: Chart,
    now: datetime,
    policy: RenewalPolicy,
) -> tuple[Outcome, ...]:
    """What the rules say of it. A stop of the renewal's own prescription is one of it, too,
    whichever id the hospital has given it."""
    names = {refill.prescription_id, refill.new_prescription_id}
    known = next((p for p in chart.prescriptions if p.id == refill.prescription_id), None)
    stops = [
        p.stopped_at
        for p in chart.prescriptions
        if p.stopped_at
        and (p.id in names or (p.order is not None and p.order.refill_id == refill.id))
    ]
    facts = gather(
        Prescription(
            id=refill.prescription_id,
            hospital=refill.hospital,
            patient_id=refill.patient_id,
            order=known.order if known is not None else None,
            stopped_at=min(stops, default=None),
        ),
        refill.order,
        care,
        account,
        chart,
        now=now,
        policy=policy,
        oneself=False,
        renewal=refill,
    )
    return evaluate(facts, policy, now, TOLD)


def look_again(patient_id: str, at: datetime) -> Timer:
    """Look again ``at`` a later moment, when what was told begins to count."""
    return Timer(
        id=f"{LOOK_AGAIN}|{patient_id}",
        due=at,
        type=LOOK_AGAIN,
        subject=patient_id,
        data={"patient_id": patient_id},
    )


def needs_look(input: Input, state: State) -> Iterator[Need]:
    return needs_consequences(state, input.hospital, input.data.patient_id)


def decide_look(input: Input, state: State, env: Env) -> Answer:
    care = patient(state, input.hospital, input.data.patient_id)
    # The timer may be a moment ahead of our clock; what it was set for has come.
    follows = consequences(state, care, Env(max(env.now, input.time), env.policy, env.secret))
    return Decision(
        changes=follows.changes,
        events=follows.events,
        timers=follows.timers,
        note="looked_again" if follows.changes else "nothing_follows",
    )
