"""Does the limit hold under any interleaving of what people do and hospitals tell?

One person with two records of one ingredient, two doctors (one of them a pharmacist, too)
and a pharmacist. Commands, late visits, merges, stops and deadlines come in any order,
some of them twice, some in one transaction. Counted independently by the published facts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.common.decision import Actor, Answer, Decision, Input
from libs.common.devstack.day.records import WELL
from libs.common.events import RefillEffective
from services.prescriptions.domain.doctor import SignedDecision
from services.prescriptions.domain.documents import (
    STAGE,
    TABLE,
    Action,
    Reason,
    Refill,
    RenewalAccount,
    Status,
)
from services.prescriptions.domain.pharmacist import SignedReview
from services.prescriptions.domain.request import RefillRequest
from services.prescriptions.handlers import (
    CANCEL,
    DOCTOR_DECISION,
    PHARMACIST_REVIEW,
    REQUEST,
)
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAY,
    DOCTOR,
    PHARMACIST,
    Hospital,
    linked,
    merged,
    prescription,
    reason,
    stopped,
    visit,
)

LIMIT = 3
BOTH = Actor("dr1", frozenset({"doctor", "pharmacist"}), frozenset({"cardiology"}))
RECORDS = ("p1", "p2")
PRESCRIPTIONS = {"rx1": "p1", "rx2": "p1", "rx3": "p2"}
LAST = st.integers(min_value=0, max_value=2)  # the renewal asked for so long ago


class Renewals(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.case = Hospital()
        self.merged = False
        self.visits: list[tuple[str, datetime]] = []
        self.effective: list[tuple[str, datetime]] = []
        self.open_before_merge = 0
        self.sent: list[Input] = []
        self.asked: list[str] = []
        self.stopped: set[str] = set()
        self.issued = 0
        for rx, patient in PRESCRIPTIONS.items():
            self.case.event(prescription(rx, patient_id=patient))

    # -- what an onlooker counts ----------------------------------------------------------

    def together(self, patient: str) -> tuple[str, ...]:
        return RECORDS if self.merged else (patient,)

    def used(self, patient: str) -> int:
        ids = self.together(patient)
        last = max((at for p, at in self.visits if p in ids), default=None)
        return sum(p in ids and (last is None or at >= last) for p, at in self.effective)

    def open(self, patient: str) -> list[Refill]:
        ids = self.together(patient)
        return [r for r in self.case.docs(Refill) if r.status in STAGE and r.patient_id in ids]

    def send(self, *inputs: Input) -> list[Answer]:
        """Send in one transaction, and look at what was published."""
        with_signatures = self.case.signed(*inputs)
        self.sent += with_signatures
        answers = self.case.batch(with_signatures)
        for emitted in self.case.take():
            fact = emitted.data
            if isinstance(fact, RefillEffective):
                number = self.used(fact.patient_id) + 1
                assert number <= LIMIT, "a fourth renewal became effective"
                assert (fact.number, fact.remaining) == (number, LIMIT - number)
                assert fact.doctor_id != fact.pharmacist_id
                self.effective.append((fact.patient_id, fact.effective_at))
        return answers

    def recent(self, ago: int) -> str:
        return self.asked[-1 - min(ago, len(self.asked) - 1)]

    # -- commands -------------------------------------------------------------------------

    @rule(rx=st.sampled_from(sorted(PRESCRIPTIONS)), times=st.integers(1, 3))
    def ask(self, rx: str, times: int) -> None:
        patient = PRESCRIPTIONS[rx]
        used, busy = self.used(patient), bool(self.open(patient))
        data = RefillRequest(prescription_id=rx, patient_id=patient, declaration=WELL)
        by = Actor(patient, frozenset({"patient"}))
        inputs = [self.case.command_input(REQUEST, data, actor=by) for _ in range(times)]
        answers = self.send(*inputs)
        accepted = [a.result["id"] for a in answers if isinstance(a, Decision)]
        self.asked += accepted
        if rx in self.stopped:
            expected = Reason.PRESCRIPTION_STOPPED
        elif busy:
            expected = Reason.OPEN_REQUEST
        elif used >= LIMIT:
            expected = Reason.RENEWAL_LIMIT_REACHED
        elif self.stopped & {r for r, p in PRESCRIPTIONS.items() if p in self.together(patient)}:
            # Another one of the patient was stopped: not so on the day of a visit since then.
            expected = Reason.CONDITION_CHANGED
            if accepted:
                assert len(accepted) == 1
                expected, answers = Reason.OPEN_REQUEST, answers[1:]
        else:
            assert len(accepted) == 1
            expected = Reason.OPEN_REQUEST
            answers = answers[1:]
        assert {reason(a) for a in answers} <= {expected}

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, decision=st.sampled_from(["approve", "approve", "decline"]),
          by=st.sampled_from([DOCTOR, COLLEAGUE]), days=st.sampled_from([1, 3]))  # fmt: skip
    def doctor(self, ago: int, decision: str, by: Actor, days: int) -> None:
        extra: dict[str, Any] = (
            {"valid_days": days} if decision == "approve" else {"reason": "visit_needed"}
        )
        data = SignedDecision.model_validate({"decision": decision, **extra})
        self.send(
            self.case.command_input(DOCTOR_DECISION, data, actor=by, subject=self.recent(ago))
        )

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, decision=st.sampled_from(["pass", "pass", "pass", "return", "refuse"]),
          by=st.sampled_from([PHARMACIST, BOTH]), twice=st.booleans())  # fmt: skip
    def pharmacist(self, ago: int, decision: str, by: Actor, twice: bool) -> None:
        extra = {} if decision == "pass" else {"reason": "dose"}
        data = SignedReview.model_validate({"decision": decision, **extra})
        inputs = [
            self.case.command_input(PHARMACIST_REVIEW, data, actor=by, subject=self.recent(ago))
            for _ in range(1 + twice)
        ]
        self.send(*inputs)

    @rule(rx=st.sampled_from(sorted(PRESCRIPTIONS)), hours=st.integers(0, 30),
          by=st.sampled_from([PHARMACIST, PHARMACIST, BOTH]))  # fmt: skip
    def renew(self, rx: str, hours: int, by: Actor) -> None:
        """The whole way at once: without it three renewals in a row are rare."""
        self.time_passes(hours)
        self.ask(rx, 1)
        for refill in self.open(PRESCRIPTIONS[rx]):
            approve = SignedDecision(decision="approve", valid_days=3)
            go = SignedReview(decision="pass")
            self.send(
                self.case.command_input(DOCTOR_DECISION, approve, actor=DOCTOR, subject=refill.id),
                self.case.command_input(PHARMACIST_REVIEW, go, actor=by, subject=refill.id),
            )

    @precondition(lambda self: self.asked)
    @rule(ago=LAST)
    def cancel(self, ago: int) -> None:
        refill = self.case.refill(self.recent(ago))
        by = Actor(refill.requested_by, frozenset({"patient"}))
        data = self.case.handlers[CANCEL].data()
        self.send(self.case.command_input(CANCEL, data, actor=by, subject=refill.id))

    # -- what the hospital tells ----------------------------------------------------------

    @precondition(lambda self: len(self.effective) > 1)
    @rule(patient=st.sampled_from(RECORDS), hours_ago=st.integers(0, 96))
    def visited(self, patient: str, hours_ago: int) -> None:
        """Told now, however long ago it was."""
        at = self.case.now - timedelta(hours=hours_ago, milliseconds=1)
        self.visits.append((patient, at))
        id = f"v{len(self.visits)}"
        self.send(self.case.event_input(visit(at, id, patient_id=patient)))

    @rule(rx=st.sampled_from(sorted(PRESCRIPTIONS)))
    def issued_again(self, rx: str) -> None:
        """A renewal's own prescription, or the next of a doctor: neither resets anything."""
        self.issued += 1
        of_a_renewal = {"refill_id": self.asked[-1]} if self.asked else {}
        told = prescription(f"next{self.issued}", patient_id=PRESCRIPTIONS[rx], at=self.case.now,
                            based_on=rx, **of_a_renewal)  # fmt: skip
        self.send(self.case.event_input(told))

    @precondition(lambda self: not self.stopped and len(self.effective) > 2)
    @rule(rx=st.sampled_from(sorted(PRESCRIPTIONS)))
    def stop(self, rx: str) -> None:
        self.stopped.add(rx)
        patient = PRESCRIPTIONS[rx]
        self.send(self.case.event_input(stopped(self.case.now, rx, patient)))

    @precondition(lambda self: not self.merged and len(self.effective) > 1)
    @rule(first=st.sampled_from(RECORDS), both_open=st.booleans())
    def merge(self, first: str, both_open: bool) -> None:
        if both_open:
            self.ask("rx1", 1)
            self.ask("rx3", 1)
        survivor = RECORDS[1 - RECORDS.index(first)]
        told = self.case.event_input(merged(first, survivor))
        # In one poll with facts of either record, which it concerns.
        at = self.case.now - timedelta(milliseconds=1)
        self.visits.append((first, at - DAY))
        late = self.case.event_input(visit(at - DAY, f"v{len(self.visits)}", patient_id=first))
        link = self.case.event_input(linked("p7", first))
        self.merged = True
        self.send(told, late, link)

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 30), new_id=st.booleans())
    def again(self, n: int, new_id: bool) -> None:
        """Delivered twice; or published twice by a sender who gives it another id."""
        input = self.sent[-1 - n % len(self.sent)]
        if not new_id:
            assert self.send(input) is not None
        elif input.actor is None:
            more: dict[str, Any] = {"time": input.time}
            self.send(self.case.event_input(input.data, **more))

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours: int) -> None:
        self.case.advance(timedelta(hours=hours, milliseconds=1))

    @rule()
    def timers_fire(self) -> None:
        self.case.fire_due()
        self.case.take()

    # -- always ---------------------------------------------------------------------------

    @invariant()
    def each_open_request_holds_one_place_and_nothing_else_does(self) -> None:
        held = [id for account in self.case.docs(RenewalAccount) for id in account.open]
        assert sorted(held) == sorted(r.id for r in self.case.docs(Refill) if r.status in STAGE)

    @invariant()
    def accounts_hold_what_was_published(self) -> None:
        counted = [r.effective_at for a in self.case.docs(RenewalAccount) for r in a.renewals]
        assert sorted(counted) == sorted(at for _, at in self.effective)

    @invariant()
    def histories_follow_the_table_and_two_persons_signed(self) -> None:
        for refill in self.case.docs(Refill):
            before: Status | None = None
            for step in refill.history:
                assert step.from_status == before
                assert TABLE[(before, step.action)] == step.to_status
                before = step.to_status
            assert before == refill.status
            if refill.status is Status.EFFECTIVE:
                *_, signed, passed = refill.history
                assert (signed.action, passed.action) == (Action.APPROVE, Action.PASS)
                assert None not in (signed.person_id, passed.person_id)
                assert signed.person_id != passed.person_id


def run(examples: int, steps: int) -> None:
    machine: Callable[..., Any] = Renewals.TestCase
    machine.settings = settings(  # type: ignore[attr-defined]
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine().runTest()


def test_no_interleaving_gives_more_than_three_renewals() -> None:
    run(50, 40)


@pytest.mark.soak
def test_no_interleaving_gives_more_than_three_renewals_however_long() -> None:
    run(3_000, 80)
