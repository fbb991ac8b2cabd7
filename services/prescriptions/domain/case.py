"""What does every decision about a renewal under way look at first?

Its patient, prescription and account as they are now; whether the version, the status
and the deadline still allow the step; and whether the rules still hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from libs.common.decision import (
    Actor,
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    unchanged,
)
from libs.common.events import Event
from services.prescriptions.domain.accounts import (
    account,
    all_accounts,
    needs_account,
    needs_accounts,
)
from services.prescriptions.domain.chart import Chart, gather, needs_chart, original_of
from services.prescriptions.domain.checking import checked_with, question_of, to_check
from services.prescriptions.domain.checks import ClinicalChecks
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.persons import (
    is_patient,
    known_as,
    may_act,
    needs_patient,
    patient,
)
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.receipt import receipt
from services.prescriptions.domain.rules import CLINICAL, LASTING, evaluate, refusal
from services.prescriptions.domain.signatures import needs_key
from services.prescriptions.domain.staff import Absence, deputy
from services.prescriptions.domain.steps import (
    Over,
    claimed_by,
    expired,
    overdue,
    possible,
    refused,
    timers,
)
from services.prescriptions.domain.stopping import stopped, unseen
from services.prescriptions.domain.told import told
from services.prescriptions.domain.transitions import Action, Status


def needs_refill(state: State, hospital: str, refill_id: str) -> Iterator[Need]:
    yield Need(Refill, "id", refill_id)
    refill = state.get(Refill, refill_id)
    if refill is not None:
        yield Need(Prescription, "id", refill.prescription_id)
        yield from needs_account(state, hospital, refill.patient_id, refill.ingredient_code)
        if refill.holder_id is not None:
            yield Need(Absence, "id", refill.holder_id)


def needs_own(input: Input, state: State) -> Iterator[Need]:
    """What the patient's side has to be known for, and the renewal that is theirs."""
    if input.actor is not None:
        yield from needs_patient(state, input.actor.person)
    yield from needs_refill(state, input.hospital, input.subject)


def needs_decided(input: Input, state: State) -> Iterator[Need]:
    """What a doctor's or pharmacist's decision rests on."""
    yield from needs_refill(state, input.hospital, input.subject)
    refill = state.get(Refill, input.subject)
    if refill is not None:
        yield from needs_chart(state, input.hospital, refill.patient_id)
        yield from needs_accounts(patient(state, input.hospital, refill.patient_id))
        yield from needs_patient(state, refill.requested_by)
    yield from needs_key(input)
    if input.actor is not None:
        yield Need(Practitioner, "id", input.actor.person)


@dataclass(frozen=True, slots=True)
class Case:
    """One renewal with all that a decision about it may rest on."""

    refill: Refill
    prescription: Prescription | None
    care: PatientCare
    account: RenewalAccount
    taken_in: list[Document]
    env: Env
    policy: RenewalPolicy
    #: Who stands in for whoever holds it and is away.
    deputy: str | None = None

    @classmethod
    def of(cls, refill: Refill, state: State, env: Env) -> Case:
        care = patient(state, refill.hospital, refill.patient_id)
        own, taken_in = account(
            care, refill.ingredient_code, lambda id: state.get(RenewalAccount, id)
        )
        prescription = state.get(Prescription, refill.prescription_id)
        holder = claimed_by(refill, env.now)
        stands_in = deputy(state, holder, env.now) if holder is not None else None
        policy = env.policy.at(env.now)
        return cls(refill, prescription, care, own, taken_in, env, policy, stands_in)

    def not_now(self, input: Input, action: Action | None) -> Refusal | None:
        """Why ``action`` can't be taken now, whoever takes it; None: a claim or the like."""
        # First, since who it lies with is more than that it has changed.
        if action is not Action.CANCEL and self.is_anothers(input.actor):
            return self._claimed()
        if not unchanged(input, self.refill):
            return Refusal(Common.CHANGED)
        if action is not None and not possible(self.refill, action):
            return Refusal(Common.WRONG_STATUS, extra={"status": self.refill.status})
        if overdue(self.refill, self.env.now):  # the timer is only a little late
            over = expired(self.refill, self.account, self.env, self.policy)
            return self._refused(Reason.DEADLINE_PASSED, over)
        return None

    def is_anothers(self, actor: Actor | None) -> bool:
        """Whether another holds it; what was theirs their deputy may do while they are away."""
        holder = claimed_by(self.refill, self.env.now)
        return holder is not None and (actor is None or actor.person not in (holder, self.deputy))

    def _claimed(self) -> Refusal:
        until = self.refill.held_until or self.env.now
        extra = {
            "holder_id": self.refill.holder_id,
            "held_until": until.isoformat(),
            "minutes": math.ceil((until - self.env.now) / timedelta(minutes=1)),
        }
        return Refusal(Common.CLAIMED, extra=extra)

    def judged(
        self,
        state: State,
        chart: Chart,
        deciding: Deciding,
        rules: frozenset[str],
        checks: ClinicalChecks | None = None,
    ) -> tuple[tuple[Outcome, ...], Refusal | None]:
        """What ``rules`` say of the act, and the refusal if one of them says no.

        A no to the act leaves the renewal where it is. Where the renewal itself can't become
        effective any more it is closed, or a doctor has to look at it again.
        """
        refill, now, policy = self.refill, self.env.now, self.policy
        requester = known_as(state, refill.hospital, refill.requested_by)
        facts = gather(
            original_of(refill, self.prescription, self.care, now),
            refill.order,
            self.care,
            self.account,
            chart,
            now=now,
            policy=policy,
            oneself=is_patient(self.care, requester),
            requester_acts=may_act(self.care, requester, now, policy),
            deciding=deciding,
            checks=checks,
        )
        outcomes = evaluate(facts, policy, now, rules)
        reason = refusal(outcomes, policy, rules - LASTING)
        if reason is not None:
            return outcomes, self._not_so(reason, deciding, checks)
        reason = refusal(outcomes, policy)
        if reason is None and refill.status is Status.WAITING_PHARMACIST:
            reason = unseen(refill, outcomes)  # by the doctor, who is asked first
        if reason is None:
            return outcomes, None
        over = stopped(refill, self.care, self.account, reason, self.env, policy, outcomes)
        if over is None:
            return outcomes, refused(reason, policy, refill_id=refill.id)
        return outcomes, self._refused(reason, over)

    def checked(
        self, input: Input, state: State, chart: Chart, order: Order, days: int | None
    ) -> ClinicalChecks | Refusal:
        """What was found about ``order`` for ``days``; the refusal if that has yet to be asked,
        or is another question by now."""
        question = question_of(
            self.refill.prescription_id, order, days, self.care, chart,
            all_accounts(state, self.care), self.env.now, self.policy,
        )  # fmt: skip
        checked = checked_with(input)
        if checked is None:
            return to_check(question)
        same = checked.question == question
        return checked.checks if same else Refusal(Common.CHANGED)

    def _not_so(self, reason: Reason, deciding: Deciding, checks: ClinicalChecks | None) -> Refusal:
        """A no to the act. What the clinical checks warn of is named, and kept to be read."""
        id = self.policy.rule_of(reason)
        if checks is None or id not in CLINICAL:
            return refused(reason, self.policy)
        barring = self.policy.rule(id).parameters.severities
        heard = () if reason is Reason.CLINICAL_CONTRAINDICATION else deciding.acknowledged
        alerts = [
            {"id": a.id, "severity": a.severity}
            for a in checks.alerts()
            if a.severity in barring and a.id not in heard
        ]
        news = not checks.says_the_same_as(self.refill.checks)
        changes = [self.refill.but(checks=checks)] if news else []
        return refused(reason, self.policy, changes, alerts=alerts)

    def _refused(self, reason: Reason, over: Over) -> Refusal:
        refill, account, events = over
        changes = [refill, account, *self.taken_in]
        no = refused(reason, self.policy, changes, events, refill_id=refill.id)
        return replace(no, timers=timers(refill, self.env.now, self.policy))

    def is_party(self, actor: Actor) -> bool:
        """Whether the request is the actor's own, or the actor signed for the patient."""
        refill = self.refill
        acted = {refill.requested_by, *(consent.person_id for consent in refill.consents)}
        return actor.person in acted or is_patient(self.care, frozenset((actor.person,)))

    def done(self, refill: Refill, account: RenewalAccount, *facts: Event) -> Decision:
        """The step is taken: save, publish, tell, and wake us at the next deadline."""
        return Decision(
            changes=(refill, account, *self.taken_in),
            events=(
                *(Emit(fact, refill) for fact in facts),
                told(refill, self.env.now, self.policy),
            ),
            timers=timers(refill, self.env.now, self.policy),
            result=receipt(refill),
            note=refill.status,
        )
