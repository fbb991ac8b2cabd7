"""What must hold of one person's renewals, whatever happens?

The machine that ``test_model.py`` gives its rules. It sends, and after each step it looks at all
that is stored, and lets an onlooker count by what was published.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from libs.common.decision import Actor, Answer, Input
from libs.common.events import (
    Event,
    PatientMerged,
    PractitionerLeft,
    PractitionerUpdated,
    PrescriptionIssued,
    VisitCancelled,
    VisitCompleted,
)
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.transitions import FULFILLED as DONE
from services.prescriptions.domain.transitions import STAGE, Status
from tests.unit.prescriptions import happenings
from tests.unit.prescriptions.given import Hospital, linked, policies, prescription
from tests.unit.prescriptions.happenings import ADVERSE, PRESCRIBED, RECORDS, Happenings
from tests.unit.prescriptions.onlooker import EFFECTIVE, FULFILLED, LIMIT, OVER, VOID, Onlooker

#: How an onlooker calls where a renewal stands that lies with nobody; else it is over.
ENDS_AS = {
    Status.EFFECTIVE: EFFECTIVE,
    Status.WITHHELD: VOID,
    Status.LAPSED: VOID,
    **dict.fromkeys(DONE.values(), FULFILLED),
}


def _latest(of: dict[str, datetime], id: str, at: datetime) -> None:
    of[id] = max(at, of.get(id, at))


class OnePerson(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.case = Hospital()
        self.seen = Onlooker()
        self.happenings = Happenings(self.case)
        self.merged = False
        self.asked: list[str] = []
        self.sent: list[Input] = []
        self.decided: set[str] = set()
        #: What was told that may stand in the way of a renewal, by whose it is.
        self.adverse: dict[str, set[type[Event]]] = defaultdict(set)
        #: Two records had each an open request when they were merged: both stay.
        self.brought_together: set[str] = set()
        self.histories: dict[str, Refill] = {}
        for patient in RECORDS:
            self.case.event(linked("p5", patient))
        for rx, patient in PRESCRIBED.items():
            self.case.event(prescription(rx, patient_id=patient))

    # -- sending --------------------------------------------------------------------------

    def send(self, *inputs: Input) -> list[Answer]:
        """Send in one transaction, and look at what was published, in its order."""
        signed = self.case.signed(*inputs)
        self.sent += signed
        answers = self.case.batch(signed)
        published = self.case.take()
        for input, answer in zip(signed, answers, strict=True):
            self.told(input)
            said = 0 if input.id in self.decided else len(answer.events)
            self.seen.hear(published[:said])
            published = published[said:]
            self.decided.add(input.id)
        assert not published
        return answers

    def told(self, input: Input) -> None:
        """What the onlooker knows from the hospital, however late."""
        fact = input.data
        if isinstance(fact, PatientMerged):
            self.seen.merged(fact.patient_id, fact.survivor_id)
        if isinstance(fact, VisitCompleted):
            at = fact.occurred_at if happenings.counts(fact) else None
            told_at = fact.recorded_at or input.time
            self.seen.visited(fact.patient_id, fact.visit_id, told_at, at)
        if isinstance(fact, VisitCancelled):
            self.seen.visited(fact.patient_id, fact.visit_id, fact.cancelled_at, None)
        if isinstance(fact, PractitionerLeft):
            _latest(self.seen.left, fact.practitioner_id, fact.left_at)
        if isinstance(fact, PractitionerUpdated):
            _latest(self.seen.works, fact.practitioner_id, fact.updated_at)
        if isinstance(fact, ADVERSE) or (
            isinstance(fact, PrescriptionIssued) and fact.dosage == happenings.DOSAGES[0]
        ):
            self.adverse[fact.patient_id].add(type(fact))

    def open(self, patient: str) -> list[Refill]:
        ids = self.seen.together(patient)
        return [r for r in self.case.docs(Refill) if r.status in STAGE and r.patient_id in ids]

    def stands(self, rx: str) -> bool:
        """Whether a doctor's prescription stands behind ``rx``, if that is a renewal's own."""
        now = self.case.now
        known = {p.id: p for p in self.case.docs(Prescription) if p.order is not None}
        order = known[rx].order
        if order is None or order.refill_id is None:
            return True
        ids = self.seen.together(known[rx].patient_id)
        return any(
            p.stopped_at is None or p.stopped_at > now
            for p in known.values()
            if p.order is not None and p.order.refill_id is None and p.patient_id in ids
        )

    def command(self, type: str, data: Any, by: Actor, subject: str = "") -> Input:
        return self.case.command_input(type, data, actor=by, subject=subject)

    def recent(self, ago: int) -> str:
        return self.asked[-1 - min(ago, len(self.asked) - 1)]

    # -- always ---------------------------------------------------------------------------

    def contents(self) -> dict[str, Any]:
        """All that is stored and all that was published, but for how often it was written."""
        models = (Refill, RenewalAccount, PatientCare, Prescription)
        stored = {
            f"{model.COLLECTION}/{doc.id}": doc.model_dump(exclude={"version"})
            for model in models
            for doc in self.case.docs(model)
        }
        return {**stored, "published": dict(self.seen.at), "effective": list(self.seen.effective)}

    @invariant()
    def each_open_request_holds_one_place_and_nothing_else_does(self) -> None:
        held = [id for account in self.case.docs(RenewalAccount) for id in account.open]
        open = [r for r in self.case.docs(Refill) if r.status in STAGE]
        assert sorted(held) == sorted(r.id for r in open)
        by_person: dict[str, list[str]] = defaultdict(list)
        for refill in open:
            by_person[min(self.seen.together(refill.patient_id))].append(refill.id)
        for ids in by_person.values():
            assert len(ids) <= 1 or set(ids) <= self.brought_together

    @invariant()
    def accounts_hold_what_was_published(self) -> None:
        counted = [r.effective_at for a in self.case.docs(RenewalAccount) for r in a.renewals]
        assert sorted(counted) == sorted(at for _, at in self.seen.effective)
        for patient in RECORDS:
            if self.seen.together(patient) == {patient}:
                assert self.seen.most_between_visits(patient) <= LIMIT

    @invariant()
    def histories_only_grow_and_are_such_as_the_rules_make(self) -> None:
        for refill in self.case.docs(Refill):
            known = self.histories.get(refill.id)
            if known is None or known.version != refill.version:
                steps = known.history if known is not None else ()
                assert refill.history[: len(steps)] == steps
                assert list(faults(refill, policies())) == []
                self.histories[refill.id] = refill

    @invariant()
    def it_stands_as_was_published(self) -> None:
        for refill in self.case.docs(Refill):
            stage = STAGE.get(refill.status)
            ended = ENDS_AS.get(refill.status, OVER)
            assert (refill.withheld_at is not None) == (refill.id in self.seen.withheld)
            if refill.status is Status.WITHHELD and self.seen.at[refill.id] == FULFILLED:
                continue  # a pharmacy told late of what was done before it was void
            assert self.seen.at[refill.id] == (stage.value if stage is not None else ended)
