"""A hospital whose patients renew their prescriptions, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from libs.common.decision import Actor, Answer, Decision, Env, Input, Refusal
from libs.common.devstack.day.records import WELL
from libs.common.events import (
    Contact,
    Department,
    FulfilmentStatus,
    FulfilmentUpdated,
    GuardianLinked,
    GuardianUnlinked,
    Medication,
    NotificationRequested,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PrescriptionIssued,
    PrescriptionStopped,
    Quantity,
    Relationship,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from services.prescriptions.domain.accounts import account_id
from services.prescriptions.domain.checking import ToCheck
from services.prescriptions.domain.checks import (
    Checked,
    CheckName,
    Checks,
    ClinicalCheck,
    ClinicalChecks,
    Question,
    complete,
    passed,
)
from services.prescriptions.domain.choosing import Choice, FulfilmentChoice
from services.prescriptions.domain.consenting import GiveConsent
from services.prescriptions.domain.doctor import SignedDecision
from services.prescriptions.domain.documents import Refill, RenewalAccount
from services.prescriptions.domain.ending import CancelRefill
from services.prescriptions.domain.form import digest
from services.prescriptions.domain.pharmacist import SignedReview
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.request import CheckedRequest
from services.prescriptions.domain.signatures import MadeSignature, Signs, ToSign
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import (
    CANCEL,
    CHOOSE,
    CONSENT,
    DOCTOR_DECISION,
    HANDLERS,
    PHARMACIST_REVIEW,
    REQUEST,
)
from services.prescriptions.main import load_policy
from services.prescriptions.settings import Settings
from services.prescriptions.store import COLLECTIONS
from tests.support.rules import Case

CHOICES: TypeAdapter[FulfilmentChoice] = TypeAdapter(Choice)

#: 10:00 in the hospital's time zone, Asia/Shanghai.
NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

PATIENT = Actor("p1", frozenset({"patient"}))
STRANGER = Actor("p9", frozenset({"patient", "guardian"}))
DAUGHTER = Actor("p5", frozenset({"guardian"}))
DOCTOR = Actor("dr1", frozenset({"doctor"}), frozenset({"cardiology"}))
COLLEAGUE = Actor("dr2", frozenset({"doctor"}), frozenset({"cardiology"}))
OUTSIDER = Actor("dr3", frozenset({"doctor"}), frozenset({"surgery"}))
PHARMACIST = Actor("ph1", frozenset({"pharmacist"}), frozenset({"pharmacy"}))


#: What a doctor says with a no.
NO = {"decline": "not_appropriate", "visit_needed": "condition_changed"}


@cache  # parsing is slow, and nothing changes them
def policies(zone: str = "Asia/Shanghai") -> RenewalPolicies:
    return load_policy(Settings(policies_dir=Path("policies"), hospital_time_zone=zone))


def prescription(
    id: str = "rx1", *, at: datetime = NOW - 30 * DAY, **more: Any
) -> PrescriptionIssued:
    """Amlodipine (hypertension), prescribed to p1 by dr1 of cardiology a month ago."""
    code = more.pop("code", "C08CA01")
    ingredient = more.pop("ingredient", "amlodipine")
    fields: dict[str, Any] = {
        "prescription_id": id,
        "patient_id": "p1",
        "medication": Medication(code=code, name="Amlodipine", ingredient_code=ingredient),
        "dosage": "one tablet in the morning",
        "quantity": Quantity(value=more.get("days_supply", 7), unit="tablet"),
        # So short that the next renewal may follow at once, as far as supply goes.
        "days_supply": 7,
        "prescriber_id": "dr1",
        "department": Department(code=more.pop("department", "cardiology")),
        "issued_at": at,
        **more,
    }
    return PrescriptionIssued.model_validate(fields)


def visit(at: datetime, id: str = "v1", **more: Any) -> VisitCompleted:
    fields: dict[str, Any] = {
        "visit_id": id,
        "patient_id": "p1",
        "visit_class": VisitClass.AMBULATORY,
        "department": Department(code=more.pop("department", "cardiology")),
        "occurred_at": at,
        **more,
    }
    return VisitCompleted.model_validate(fields)


def unvisited(at: datetime, id: str = "v1", patient: str = "p1", **more: Any) -> VisitCancelled:
    return VisitCancelled(visit_id=id, patient_id=patient, cancelled_at=at, **more)


def stopped(at: datetime, id: str = "rx1", patient: str = "p1") -> PrescriptionStopped:
    return PrescriptionStopped(prescription_id=id, patient_id=patient, stopped_at=at)


def registered(
    id: str = "p1", born: date = date(1970, 5, 1), at: datetime = NOW - DAY
) -> PatientRegistered:
    return PatientRegistered(patient_id=id, name="李一", birth_date=born, updated_at=at)


def merged(gone: str, survivor: str, at: datetime = NOW) -> PatientMerged:
    return PatientMerged(patient_id=gone, survivor_id=survivor, merged_at=at)


def deceased(id: str = "p1", at: datetime = NOW) -> PatientDeceased:
    return PatientDeceased(patient_id=id, deceased_at=at)


def linked(person: str = "p5", patient: str = "p1", **more: Any) -> GuardianLinked:
    fields: dict[str, Any] = {
        "patient_id": patient,
        "person_id": person,
        "relationship": Relationship.CHILD,
        "verified_by": "id_card",
        "linked_at": NOW - DAY,
        "contact": Contact(name="李五"),
        **more,
    }
    return GuardianLinked.model_validate(fields)


def unlinked(at: datetime, person: str = "p5", patient: str = "p1") -> GuardianUnlinked:
    return GuardianUnlinked(patient_id=patient, person_id=person, unlinked_at=at)


class Hospital(Case):
    """A ``Case`` with the verbs of this service, where the records of three adults are known."""

    def __init__(self, *, zone: str = "Asia/Shanghai", now: datetime = NOW) -> None:
        super().__init__(HANDLERS, policies(zone), now=now, collections=COLLECTIONS)
        #: The engine: what it finds.
        self.checker: Callable[[Question], Iterable[ClinicalCheck]] = lambda _: map(
            passed, CheckName
        )
        for patient in ("p1", "p2", "p3"):
            self.event(registered(patient, at=NOW - 400 * DAY))

    def ask(
        self,
        rx: str = "rx1",
        patient: str = "p1",
        by: Actor = PATIENT,
        note: str | None = None,
        declaration: Mapping[str, Any] = WELL,
        **more: Any,
    ) -> Answer:
        data = CheckedRequest(
            prescription_id=rx, patient_id=patient, note=note, declaration=declaration
        )
        input = self.command_input(REQUEST, data, actor=by, **more)
        return self.send(self.signed(input)[0])

    def asked(self, rx: str = "rx1", patient: str = "p1", by: Actor = PATIENT) -> str:
        """Ask for a renewal that is accepted; its id."""
        answer = self.ask(rx, patient, by)
        assert isinstance(answer, Decision), answer
        return str(answer.result["id"])

    def doctor(self, id: str, decision: str, by: Actor = DOCTOR, **more: Any) -> Answer:
        if_match = more.pop("if_match", None)
        if decision in NO:
            more.setdefault("reason", NO[decision])
        data = SignedDecision.model_validate({"decision": decision, **more})
        return self._act(DOCTOR_DECISION, data, by, id, if_match)

    def pharmacist(self, id: str, decision: str, by: Actor = PHARMACIST, **more: Any) -> Answer:
        if_match = more.pop("if_match", None)
        if decision != "pass":
            more.setdefault("reason", "dose")
        data = SignedReview.model_validate({"decision": decision, **more})
        return self._act(PHARMACIST_REVIEW, data, by, id, if_match)

    def _act(self, type: str, data: Signs, by: Actor, id: str, if_match: int | None) -> Answer:
        input = self.command_input(type, data, actor=by, subject=id, if_match=if_match)
        return self.send(self.signed(input)[0])

    def signed(self, *inputs: Input) -> list[Input]:
        """``inputs``, decided in this order, with the checks and signatures that they need.

        As the API has them made, but they are words here: rules don't verify.
        """
        work, done = self._load(inputs), []
        env = Env(now=self.now, policy=self.policy, secret=lambda: f"nonce-{self.now}")
        for input in inputs:
            handler, view = self.handlers[input.type], work.view(input.hospital)
            # As the engine does where one before it leaves another to look at: load afresh.
            while missing := work.missing(input.hospital, handler.needs(input, view)):
                work.loaded(d for need in missing for d in self._find(need, input.hospital))
            answer = handler.decide(input, view, env)
            if isinstance(answer, ToCheck):
                input = input._replace(data=self.checked(input, answer))
                answer = handler.decide(input, view, env)
            if isinstance(answer, ToSign):
                input = input._replace(data=signed(input, answer.text))
                for need in work.missing(input.hospital, handler.needs(input, view)):
                    work.loaded(self._find(need, input.hospital))
                answer = handler.decide(input, view, env)
            work.take(work.stage(input.hospital, answer.changes, answer.events)[0])
            done.append(input)
        return done

    def consent(self, id: str, by: Actor = PATIENT, **more: Any) -> Answer:
        given = {"policy": self.policy.at(self.now).version, "language": "zh-CN"}
        data = GiveConsent.model_validate({**given, **more})
        return self.command(CONSENT, data, actor=by, subject=id)

    def checked(self, input: Input, answer: ToCheck) -> Checks:
        """The command's body with what the engine finds."""
        assert answer.question is not None
        checks = ClinicalChecks(
            id=f"check-of-{input.id}",
            engine="test",
            version="1",
            at=self.now,
            checks=complete(self.checker(answer.question)),
        )
        checked = Checked(question=answer.question, checks=checks)
        body: Checks = input.data.model_copy(update={"checked": checked})
        return body

    def cancel(self, id: str, by: Actor = PATIENT, **more: Any) -> Answer:
        return self.command(CANCEL, CancelRefill(), actor=by, subject=id, **more)

    def choose(self, id: str, by: Actor = PATIENT, **more: Any) -> Answer:
        if_match = more.pop("if_match", None)
        body = {"method": "pickup", "pharmacy_id": "riverside", **more}
        data = CHOICES.validate_python(body)
        return self.command(CHOOSE, data, actor=by, subject=id, if_match=if_match)

    def reported(self, refill: str, status: str, dispensing: str = "d1", **more: Any) -> Answer:
        """A pharmacy tells about the renewal's own prescription, or about ``prescription``."""
        return self.event(self.report(refill, status, dispensing, **more))

    def report(
        self, refill: str, status: str, dispensing: str = "d1", **more: Any
    ) -> FulfilmentUpdated:
        fields: dict[str, Any] = {
            "fulfilment_id": dispensing,
            "prescription_id": self.refill(refill).new_prescription_id or "rx-unknown",
            "patient_id": "p1",
            "refill_id": refill,
            "pharmacy_id": "riverside",
            "status": FulfilmentStatus(status),
            "occurred_at": self.now,
            **more,
        }
        return FulfilmentUpdated.model_validate(fields)

    def renewed(self, rx: str = "rx1", patient: str = "p1", by: Actor = PATIENT) -> Refill:
        """A renewal from the asking until it is effective."""
        id = self.asked(rx, patient, by)
        self.doctor(id, "approve")
        self.pharmacist(id, "pass")
        refill = self.refill(id)
        assert refill.status is Status.EFFECTIVE, refill
        return refill

    def refill(self, id: str) -> Refill:
        found = self.doc(Refill, id)
        assert found is not None
        return found

    def account(self, patient: str = "p1", ingredient: str = "amlodipine") -> RenewalAccount:
        found = self.doc(RenewalAccount, account_id(patient, ingredient))
        assert found is not None
        return found

    def told(self) -> list[tuple[str, str]]:
        """Who was told by which template since the last look."""
        return [
            (e.data.recipient_id, e.data.template)
            for e in self.take()
            if isinstance(e.data, NotificationRequested)
        ]


def signed(input: Input, text: str, **more: Any) -> Signs:
    """The command's body with its actor's signature of ``text``."""
    assert input.actor is not None
    role = "doctor" if input.type == DOCTOR_DECISION else "pharmacist"
    made = {
        "text": text,
        "person_id": input.actor.person,
        "role": role,
        "jws": f"{role}..{digest(text)}",
        "kid": f"key-of-{input.actor.person}",
        "jwk": {"kty": "EC", "x": input.actor.person},
        **more,
    }
    body: Signs = input.data.model_copy(update={"signed": MadeSignature.model_validate(made)})
    return body


def hospital(**more: Any) -> Hospital:
    """One patient with one prescription, seen in person a month ago."""
    case = Hospital(**more)
    case.event(prescription())
    case.event(visit(NOW - 30 * DAY))
    return case


def reason(answer: Answer) -> str | None:
    return answer.reason if isinstance(answer, Refusal) else None
