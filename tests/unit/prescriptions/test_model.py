"""Does the limit hold under any interleaving of what people do and hospitals tell?

One person with two records of one ingredient, a guardian, two doctors (one of them a pharmacist,
too) and a pharmacist. What happens at the hospital is told at once or late, in any order, twice
under one id and under two, alone or in one transaction with what people do; deadlines pass
and timers are late. What must hold is in ``one_person.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from libs.common.decision import Actor, Decision, Input
from libs.common.devstack.day.records import WELL
from libs.common.events import Event
from services.prescriptions.domain.assigning import Claim, HandOver, Release
from services.prescriptions.domain.doctor import SignedDecision
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.ending import CancelRefill
from services.prescriptions.domain.pharmacist import SignedReview
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.request import CheckedRequest
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import (
    CANCEL,
    CHOOSE,
    CLAIM,
    DOCTOR_DECISION,
    HAND_OVER,
    PHARMACIST_REVIEW,
    RELEASE,
    REQUEST,
)
from tests.unit.prescriptions import happenings
from tests.unit.prescriptions.given import (
    CHOICES,
    COLLEAGUE,
    DAUGHTER,
    DOCTOR,
    PHARMACIST,
    merged,
    reason,
    visit,
)
from tests.unit.prescriptions.happenings import RECORDS
from tests.unit.prescriptions.one_person import OnePerson
from tests.unit.prescriptions.onlooker import EFFECTIVE, FULFILLED, LIMIT, VOID

BOTH = Actor("dr1", frozenset({"doctor", "pharmacist"}), frozenset({"cardiology"}))
LAST = st.integers(min_value=0, max_value=2)  # the renewal asked for so long ago
DOCTORS = st.sampled_from([DOCTOR, DOCTOR, COLLEAGUE])
PHARMACISTS = st.sampled_from([PHARMACIST, PHARMACIST, PHARMACIST, BOTH])

APPROVES: list[dict[str, Any]] = [
    {"decision": "approve"},
    {"decision": "approve", "valid_days": 3},
    {"decision": "change", "quantity": {"value": 5, "unit": "tablet"}},
    {"decision": "change", "refills_allowed": 0},
    {
        "decision": "replace",
        "dosage": "two in the morning",
        "quantity": {"value": 7, "unit": "tablet"},
        "days_supply": 3,
    },
]
ENDS: list[dict[str, Any]] = [
    {"decision": "decline", "reason": "not_appropriate"},
    {"decision": "visit_needed", "reason": "condition_changed"},
]
REVIEWS: list[dict[str, Any]] = [
    {"decision": "pass"},
    {"decision": "return", "reason": "dose"},
    {"decision": "refuse", "reason": "dose"},
]
DECISIONS = st.sampled_from([*APPROVES, APPROVES[1], APPROVES[1], *ENDS])
REVIEWED = st.sampled_from([*REVIEWS, REVIEWS[0], REVIEWS[0]])
#: Where a pharmacy has had something to dispense.
DISPENSABLE = (EFFECTIVE, VOID, FULFILLED)
ASSIGNS = {CLAIM: Claim(), RELEASE: Release(), HAND_OVER: HandOver(to="dr2", reason="end_of_duty")}


class Renewals(OnePerson):
    @initialize(quiet=st.booleans(), renewed=st.integers(0, 4), hours=st.integers(0, 30))
    def begin(self, quiet: bool, renewed: int, hours: int) -> None:
        """``quiet``: nothing happens that is a ground to refuse, so nothing else may refuse."""
        self.quiet = quiet
        for n in range(renewed):
            self.renew(n, hours, PHARMACIST)

    # -- what people do -------------------------------------------------------------------

    def request(self, rx: str, patient: str, by_guardian: bool = False) -> Input:
        data = CheckedRequest(prescription_id=rx, patient_id=patient, declaration=WELL)
        by = DAUGHTER if by_guardian else Actor(patient, frozenset({"patient"}))
        return self.command(REQUEST, data, by)

    @rule(n=st.integers(0, 5), times=st.integers(1, 3), by_guardian=st.booleans())
    def ask(self, n: int, times: int, by_guardian: bool) -> None:
        rx, patient = self.happenings.prescribed(n)
        used, busy = self.seen.used(patient), bool(self.open(patient))
        ids = self.seen.together(patient)
        grounds = set[type[Event]]().union(*(self.adverse[id] for id in ids))
        answers = self.send(*(self.request(rx, patient, by_guardian) for _ in range(times)))
        accepted = [a.result["id"] for a in answers if isinstance(a, Decision)]
        self.asked += accepted
        # A medicine that doctors stopped is not renewed on the ground of a renewal's own copy.
        assert not accepted or self.stands(rx)
        # What must be, whatever else was told.
        assert len(accepted) <= (0 if busy or used >= LIMIT else 1)
        reasons = {reason(a) for a in answers} - {None}
        if accepted:
            assert reasons <= {Reason.OPEN_REQUEST}
        elif not grounds and not self.seen.narrowed:
            # Nothing is refused without a ground that an onlooker knows, too.
            assert busy or used >= LIMIT
            assert reasons == {Reason.OPEN_REQUEST if busy else Reason.RENEWAL_LIMIT_REACHED}

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, decision=DECISIONS, by=DOCTORS)
    def doctor(self, ago: int, decision: dict[str, Any], by: Actor) -> None:
        id = self.recent(ago)
        before = self.case.refill(id)
        (answer,) = self.send(self.decision(id, decision, by))
        assert reason(answer) is not None or not self.is_anothers(before, by)

    def is_anothers(self, refill: Refill, by: Actor) -> bool:
        """Whether another has claimed it, or was handed it, and still has it."""
        held = refill.held_until is not None and self.case.now < refill.held_until
        return held and refill.holder_id != by.person

    def decision(self, id: str, decision: dict[str, Any], by: Actor) -> Input:
        return self.command(DOCTOR_DECISION, SignedDecision.model_validate(decision), by, id)

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, review=REVIEWED, by=PHARMACISTS, times=st.integers(1, 2))
    def pharmacist(self, ago: int, review: dict[str, Any], by: Actor, times: int) -> None:
        id = self.recent(ago)
        before = self.case.refill(id)
        answers = self.send(*(self.review(id, review, by) for _ in range(times)))
        assert reason(answers[0]) is not None or not self.is_anothers(before, by)
        if self.case.refill(id).status is Status.EFFECTIVE is not before.status:
            assert self.stands(before.prescription_id)

    def review(self, id: str, review: dict[str, Any], by: Actor) -> Input:
        return self.command(PHARMACIST_REVIEW, SignedReview.model_validate(review), by, id)

    @rule(
        n=st.integers(0, 5), hours=st.integers(0, 30), by=PHARMACISTS, again=DOCTORS | st.none(),
        comes_back=st.booleans(),
    )  # fmt: skip
    def renew(
        self,
        n: int,
        hours: int,
        by: Actor,
        again: Actor | None = None,
        comes_back: bool = False,
    ) -> None:
        """The whole way at once: without it three renewals in a row are rare. Perhaps it is
        returned, and then approved by whomsoever; perhaps it comes back as a prescription."""
        self.time_passes(hours)
        self.ask(n, 1, False)
        for refill in self.open(self.happenings.prescribed(n)[1]):
            first = self.decision(refill.id, APPROVES[1], DOCTOR)
            last = self.review(refill.id, REVIEWS[0], by)
            if again is None:
                self.send(first, last)
            else:
                self.send(first, self.review(refill.id, REVIEWS[1], by))
                self.send(self.decision(refill.id, APPROVES[1], again), last)
        if comes_back:
            self.happenings.happen("comes_back", RECORDS[0], 0)
            self.send(*self.happenings.tell(-1))

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, early=st.booleans())
    def at_its_deadline(self, ago: int, early: bool) -> None:
        """Decided on in its last millisecond, or in the first that is too late."""
        refill = self.case.refill(self.recent(ago))
        if refill.stage is None or refill.deadline is None or refill.deadline <= self.case.now:
            return
        self.case.now = refill.deadline - timedelta(milliseconds=early)
        self.send(
            self.decision(refill.id, APPROVES[1], DOCTOR),
            self.review(refill.id, REVIEWS[0], PHARMACIST),
        )
        after = self.case.refill(refill.id)
        assert (after.status is Status.EXPIRED) == (not early)

    @precondition(lambda self: self.asked)
    @rule(ago=LAST)
    def cancel(self, ago: int) -> None:
        self.send(self.cancellation(self.recent(ago)))

    def cancellation(self, id: str) -> Input:
        by = Actor(self.case.refill(id).patient_id, frozenset({"patient"}))
        return self.command(CANCEL, CancelRefill(), by, id)

    @precondition(lambda self: self.asked)
    @rule(
        ago=LAST, decision=DECISIONS, review=REVIEWED, n=st.integers(0, 5),
        order=st.permutations(range(5)), among=st.integers(2, 5), told=st.integers(0, 9),
    )  # fmt: skip
    def at_once(
        self,
        ago: int,
        decision: dict[str, Any],
        review: dict[str, Any],
        n: int,
        order: Sequence[int],
        among: int,
        told: int,
    ) -> None:
        """People, and what the hospital tells, in one transaction."""
        id = self.recent(ago)
        rx, patient = self.happenings.prescribed(n)
        inputs = [
            self.decision(id, decision, DOCTOR),
            self.review(id, review, PHARMACIST),
            self.cancellation(id),
            self.request(rx, patient),
            *self.happenings.tell(told)[:1],
        ]
        chosen = [inputs[i] for i in order[:among] if i < len(inputs)]
        for input, answer in zip(chosen, self.send(*chosen), strict=True):
            if input.type == REQUEST and isinstance(answer, Decision):
                self.asked.append(answer.result["id"])

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, by=DOCTORS | PHARMACISTS, what=st.sampled_from(sorted(ASSIGNS)))
    def assign(self, ago: int, by: Actor, what: str) -> None:
        """Claimed, given back or handed over: no status changes by it, but its time may be over."""
        id = self.recent(ago)
        before = self.case.refill(id)
        self.send(self.command(what, ASSIGNS[what], by, id))
        after = self.case.refill(id)
        assert after.history == before.history or after.status is Status.EXPIRED
        assert after.assignments[: len(before.assignments)] == before.assignments

    @precondition(lambda self: self.asked)
    @rule(ago=LAST, pharmacy=st.sampled_from(["riverside", "old-town", "nowhere"]))
    def choose(self, ago: int, pharmacy: str) -> None:
        """Where it is to be had, which opens and closes nothing."""
        before = self.case.refill(self.recent(ago))
        by = Actor(before.patient_id, frozenset({"patient"}))
        body = CHOICES.validate_python({"method": "pickup", "pharmacy_id": pharmacy})
        self.send(self.command(CHOOSE, body, by, before.id))
        after = self.case.refill(before.id)
        assert after.history == before.history or after.status is Status.EXPIRED

    # -- what the hospital tells ----------------------------------------------------------

    @precondition(lambda self: self.seen.effective)
    @rule(patient=st.sampled_from(RECORDS), renewals=st.integers(0, 3),
          other=st.sampled_from([{}, {}, *happenings.NO_VISITS]))  # fmt: skip
    def visited(self, patient: str, renewals: int, other: dict[str, Any]) -> None:
        """A visit is told that was before the last renewals, at the moment of one, or just now;
        or what looks like one and does not count."""
        times = [at for _, at in self.seen.effective[-renewals:]] if renewals else [self.case.now]
        told = visit(times[0], f"late-{len(self.sent)}", patient_id=patient, **other)
        self.happenings.visits.append(told)
        self.send(self.case.event_input(told))

    @precondition(lambda self: self.seen.effective)
    @rule(n=st.integers(0, 5), told=st.sampled_from(["first", "last", "renewed", "after all"]))
    def visited_by_mistake(self, n: int, told: str) -> None:
        """A visit is taken back that was told first or last, or that was renewed on; or it took
        place after all. Then it is renewed: without this rule that is rare."""
        patient = self.happenings.prescribed(n)[1]
        self.time_passes(1)
        self.happenings.happen("visit", patient, 0)
        self.happenings.happen("no_visit", patient, 0)
        back, wrong = self.happenings.tell(-1), self.happenings.tell(-1)
        self.send(*(back if told == "last" else wrong))
        if told == "renewed":
            self.renew(n, 0, PHARMACIST)
        self.send(*(wrong if told == "last" else back))
        if told == "after all":
            self.time_passes(1)
            self.happenings.happen("visit_again", patient, 0)
            self.send(*self.happenings.tell(-1))
        self.renew(n, 0, PHARMACIST)

    @rule(kind=st.sampled_from(sorted(happenings.KINDS)), patient=st.sampled_from(RECORDS),
          pick=st.integers(0, 5), late=st.booleans())  # fmt: skip
    def happens(self, kind: str, patient: str, pick: int, late: bool) -> None:
        """It is told now, or some time later."""
        # The rare ones end much, so only once there is something to end.
        if kind in happenings.RARE and len(self.seen.effective) < 2:
            return
        if kind in happenings.GROUNDS and self.quiet:
            return
        self.happenings.happen(kind, patient, pick)
        if not late:
            self.send(*self.happenings.tell(-1))

    @precondition(lambda self: len(self.seen.effective) > 1 and not self.merged)
    @rule(first=st.sampled_from(RECORDS), both_open=st.booleans(), told=st.integers(0, 9))
    def merge(self, first: str, both_open: bool, told: int) -> None:
        """Two records are one person, in one poll with whatever else was not told yet."""
        self.merged = True
        if both_open:
            self.send(self.request("rx1", "p1"), self.request("rx3", "p2"))
        survivor = RECORDS[1 - RECORDS.index(first)]
        inputs = [self.case.event_input(merged(first, survivor, self.case.now))]
        inputs += [i for n in (told, told + 1) for i in self.happenings.tell(n)]
        self.send(*inputs)
        self.brought_together = {refill.id for refill in self.open(survivor)}

    @precondition(lambda self: self.happenings.untold)
    @rule(which=st.lists(st.integers(0, 9), min_size=1, max_size=4), twice=st.booleans())
    def is_told(self, which: list[int], twice: bool) -> None:
        """In any order; and of what is told twice the second time changes nothing."""
        inputs = [input for n in which for input in self.happenings.tell(n)]
        self.send(*inputs)
        if twice:
            before = self.contents()
            self.send(*(self.happenings.again(input) for input in inputs))
            assert self.contents() == before

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 30), new_id=st.booleans())
    def again(self, n: int, new_id: bool) -> None:
        """Delivered twice; or published twice by a sender who gives it another id, later."""
        input = self.sent[-1 - n % len(self.sent)]
        if not new_id:
            before = self.contents()
            self.send(input)
            assert self.contents() == before
        elif input.actor is None:
            self.send(self.happenings.again(input))

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours: int) -> None:
        self.case.advance(timedelta(hours=hours, milliseconds=1))

    @rule()
    def timers_fire(self) -> None:
        self.case.fire_due()
        self.seen.hear(self.case.take())

    @precondition(lambda self: self.seen.effective)
    @rule(ago=LAST, status=st.sampled_from(happenings.DISPENSING), n=st.integers(0, 1),
          hours_ago=st.integers(0, 30), times=st.integers(1, 2))  # fmt: skip
    def dispensed(self, ago: int, status: str, n: int, hours_ago: int, times: int) -> None:
        """A pharmacy tells of one of two dispensings, of what happened now or before."""
        ids = [id for id, at in self.seen.at.items() if at in DISPENSABLE]
        refill = self.case.refill(ids[-1 - min(ago, len(ids) - 1)])
        report = self.case.report(
            refill.id, status, f"d{n}-{refill.id}", patient_id=refill.patient_id,
            occurred_at=self.case.now - timedelta(hours=hours_ago),
        )  # fmt: skip
        self.send(*(self.case.event_input(report) for _ in range(times)))


def run(examples: int, steps: int) -> None:
    machine: Callable[..., Any] = Renewals.TestCase
    machine.settings = settings(  # type: ignore[attr-defined]
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine().runTest()


@pytest.mark.timeout(300)
def test_no_interleaving_gives_more_than_three_renewals() -> None:
    run(30, 40)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_interleaving_gives_more_than_three_renewals_however_long() -> None:
    run(3_000, 80)
