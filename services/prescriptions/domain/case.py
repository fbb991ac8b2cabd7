"""What does every decision about a renewal under way look at first?

Its patient, prescription and account as they are now; whether the version, the status
and the deadline still allow the step; and whether the rules still hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from services.prescriptions.domain.accounts import account, needs_account
from services.prescriptions.domain.chart import Chart, gather, needs_chart
from services.prescriptions.domain.documents import (
    Action,
    PatientCare,
    Prescription,
    Reason,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.persons import is_patient, patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.rules import LASTING, evaluate, refusal
from services.prescriptions.domain.signatures import needs_key
from services.prescriptions.domain.steps import (
    Over,
    closed,
    expired,
    overdue,
    possible,
    refused,
    timers,
)
from services.prescriptions.domain.told import told
from services.prescriptions.domain.views import receipt


def needs_refill(state: State, hospital: str, refill_id: str) -> Iterator[Need]:
    yield Need(Refill, "id", refill_id)
    refill = state.get(Refill, refill_id)
    if refill is not None:
        yield Need(Prescription, "id", refill.prescription_id)
        yield from needs_account(state, hospital, refill.patient_id, refill.ingredient_code)


def needs_decided(input: Input, state: State) -> Iterator[Need]:
    """What a doctor's or pharmacist's decision rests on."""
    yield from needs_refill(state, input.hospital, input.subject)
    refill = state.get(Refill, input.subject)
    if refill is not None:
        yield from needs_chart(state, input.hospital, refill.patient_id)
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

    @classmethod
    def of(cls, refill: Refill, state: State, env: Env) -> Case:
        care = patient(state, refill.hospital, refill.patient_id)
        own, taken_in = account(
            care, refill.ingredient_code, lambda id: state.get(RenewalAccount, id)
        )
        prescription = state.get(Prescription, refill.prescription_id)
        return cls(refill, prescription, care, own, taken_in, env, env.policy.at(env.now))

    def not_now(self, input: Input, action: Action) -> Refusal | None:
        """Why ``action`` can't be taken now, whoever takes it."""
        if not unchanged(input, self.refill):
            return Refusal(Common.CHANGED)
        if not possible(self.refill, action):
            return Refusal(Common.WRONG_STATUS, extra={"status": self.refill.status})
        if overdue(self.refill, self.env.now):  # the timer is only a little late
            over = expired(self.refill, self.account, self.env.now, self.policy)
            return self._refused(Reason.DEADLINE_PASSED, over)
        return None

    def judged(
        self, chart: Chart, deciding: Deciding, rules: frozenset[str]
    ) -> tuple[tuple[Outcome, ...], Refusal | None]:
        """What ``rules`` say of the act, and the refusal if one of them says no.

        A no to the act leaves the renewal where it is; where the renewal itself can't become
        effective any more it is closed.
        """
        refill, now, policy = self.refill, self.env.now, self.policy
        facts = gather(
            self.prescription or Prescription(
                id=refill.prescription_id,
                hospital=refill.hospital,
                patient_id=refill.patient_id,
                stopped_at=now,  # what is no longer known is not renewed
            ),
            refill.order,
            self.care,
            self.account,
            chart,
            today=policy.day(now),
            oneself=False,
            deciding=deciding,
        )  # fmt: skip
        outcomes = evaluate(facts, policy, now, rules)
        reason = refusal(outcomes, policy, rules - LASTING)
        if reason is not None:
            return outcomes, refused(reason, policy)
        reason = refusal(outcomes, policy)
        if reason is None:
            return outcomes, None
        over = closed(refill, self.account, reason, now, policy, outcomes)
        return outcomes, self._refused(reason, over)

    def _refused(self, reason: Reason, over: Over) -> Refusal:
        refill, account, events = over
        changes = [refill, account, *self.taken_in]
        return refused(reason, self.policy, changes, events, refill_id=refill.id)

    def is_party(self, actor: Actor) -> bool:
        """Whether the request is the actor's own."""
        return actor.person == self.refill.requested_by or is_patient(
            self.care, frozenset((actor.person,))
        )

    def done(self, refill: Refill, account: RenewalAccount, *facts: Event) -> Decision:
        """The step is taken: save, publish, tell, and wake us at the next deadline."""
        return Decision(
            changes=(refill, account, *self.taken_in),
            events=(
                *(Emit(fact, refill) for fact in facts),
                told(refill, self.env.now, self.policy),
            ),
            timers=timers(refill),
            result=receipt(refill),
            note=refill.status,
        )
