"""What do the tests of enrollment begin with? A hospital, its programmes, and its news."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from libs.common.decision import Actor, Answer, Decision, Refusal
from libs.common.events import (
    Contact,
    Department,
    Diagnosis,
    DischargeCancelled,
    Disposition,
    EncounterDischarged,
    Guardian,
    GuardianLinked,
    GuardianUnlinked,
    LinkScope,
    NotificationRequested,
    PatientDeceased,
    PatientMerged,
    PatientSnapshot,
    Procedure,
    Relationship,
    Wording,
)
from services.enrollment.domain.desk import InvitationCommand
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.joining import Accept, Bearer, MembershipCommand
from services.enrollment.domain.membership import Membership
from services.enrollment.domain.programme import (
    ConsentText,
    Match,
    Policy,
    Programme,
    Sheets,
    Staff,
)
from services.enrollment.handlers import HANDLERS
from services.enrollment.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 11, 18, 4, 0, tzinfo=UTC)  # noon in Shanghai
ADULT = date(1958, 6, 21)
CHILD = date(2019, 3, 8)
NURSE = Actor("n-4001", frozenset({"nurse"}), frozenset({"NEURO", "PED-NEPH"}))


def programme(id: str = "stroke", department: str = "NEURO", **more: Any) -> Programme:
    if not more.get("default"):
        more.setdefault("match", Match(icd10=("I63",)))
    return Programme(
        id=id,
        department=department,
        name=Wording(zh=f"{id} 群", en=f"{id} group"),
        valid_from=more.pop("valid_from", date(2026, 1, 1)),
        source="hospital policy",
        staff=Staff(doctor="d-3001", nurse="n-4001"),
        sheets=Sheets(welcome="welcome.default", rules="rules.default"),
        **more,
    )


STROKE = programme()
KIDNEY = programme("ped-neph", "PED-NEPH", match=Match(icd10=("N04",), max_age=17))


def consent_text(key: str, version: str = "1", since: date = date(2020, 1, 1)) -> ConsentText:
    return ConsentText(
        key=key, version=version, valid_from=since, source="test", zh="同意", en="I do"
    )


def policy(*programmes: Programme, **more: Any) -> Policy:
    return Policy(
        programmes=programmes or (STROKE, KIDNEY),
        consents=more.pop(
            "consents", (consent_text("rules.default", "r1"), consent_text("health_data", "h1"))
        ),
        zone=ZoneInfo("Asia/Shanghai"),
        accept_url="https://hospital.example/accept",
        adult_age=more.pop("adult_age", lambda _: 18),
        **more,
    )


def hospital(*programmes: Programme, now: datetime = NOW, **more: Any) -> Case:
    return Case(HANDLERS, policy(*programmes, **more), now=now, collections=COLLECTIONS)


def guardian(person: str = "mother", **more: Any) -> Guardian:
    return Guardian(person_id=person, name="林晓梅", relationship=Relationship.MOTHER, **more)


def discharged(patient: str = "p1", encounter: str = "", **more: Any) -> EncounterDischarged:
    """An adult with a stroke leaves neurology, unless said otherwise."""
    return EncounterDischarged(
        encounter_id=encounter or f"e-{patient}",
        patient_id=patient,
        patient=PatientSnapshot(
            name="陈桂芳",
            birth_date=more.pop("born", ADULT),
            language="zh-CN",
            deceased=more.pop("deceased", False),
        ),
        guardians=tuple(more.pop("guardians", ())),
        department=Department(code=more.pop("department", "NEURO")),
        diagnoses=tuple(Diagnosis(code=c) for c in more.pop("codes", ["I63.900x001"])),
        procedures=tuple(Procedure(code=c) for c in more.pop("procedures", [])),
        discharged_at=more.pop("at", NOW - timedelta(minutes=5)),
        disposition=more.pop("disposition", Disposition.HOME),
        **more,
    )


def child_discharged(patient: str = "kid", encounter: str = "", **more: Any) -> EncounterDischarged:
    """A child with a nephrotic syndrome leaves paediatric nephrology."""
    more = {"born": CHILD, "department": "PED-NEPH", "codes": ["N04.900"], **more}
    more.setdefault("guardians", [guardian()])
    return discharged(patient, encounter, **more)


def cancelled(
    discharge_event: str, patient: str = "p1", encounter: str = "", at: datetime = NOW
) -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id=encounter or f"e-{patient}",
        patient_id=patient,
        discharge_event_id=discharge_event,
        cancelled_at=at,
    )


def linked(person: str = "mother", patient: str = "kid", **more: Any) -> GuardianLinked:
    return GuardianLinked(
        patient_id=patient,
        person_id=person,
        relationship=Relationship.MOTHER,
        scope=more.pop("scope", (LinkScope.FULL,)),
        verified_by="household_register",
        linked_at=more.pop("at", NOW),
        contact=Contact(name="林晓梅", language="en"),
        **more,
    )


def unlinked(person: str = "mother", patient: str = "kid", at: datetime = NOW) -> GuardianUnlinked:
    return GuardianUnlinked(patient_id=patient, person_id=person, unlinked_at=at)


def deceased(patient: str = "p1", at: datetime = NOW) -> PatientDeceased:
    return PatientDeceased(patient_id=patient, deceased_at=at)


def merged(gone: str, survivor: str, at: datetime = NOW) -> PatientMerged:
    return PatientMerged(patient_id=gone, survivor_id=survivor, merged_at=at)


# -- what people do ---------------------------------------------------------------------


def token(case: Case, person: str = "p1") -> str:
    """The token in the newest notification to ``person``."""
    links = [
        n.link or ""
        for n in case.events(NotificationRequested)
        if n.recipient_id == person and n.template == "invitation.issued"
    ]
    return links[-1].partition("#token=")[2]


def accept(case: Case, token: str, *, health: bool = False) -> Answer:
    return case.command(
        "invitation.accept",
        Accept(token=token, consent_to_rules=True, consent_to_health_data=health),
    )


def decline(case: Case, token: str) -> Answer:
    return case.command("invitation.decline", Bearer(token=token))


def leave(case: Case, person: str = "p1") -> Answer:
    (membership,) = case.docs(Membership, person_id=person)
    return case.command(
        "membership.leave", MembershipCommand(membership_id=membership.id), actor=Actor(person)
    )


def reissue(case: Case, person: str = "p1", actor: Actor = NURSE) -> Answer:
    newest = max(case.docs(Invitation, person_id=person), key=lambda i: i.issued_at)
    return case.command(
        "invitation.reissue", InvitationCommand(invitation_id=newest.id), actor=actor
    )


def invited(case: Case, person: str = "p1") -> InvitationStatus:
    """The status of the only invitation of ``person``."""
    (invitation,) = case.docs(Invitation, person_id=person)
    return invitation.status


def seats(case: Case, group: str = "stroke:1") -> tuple[int, int]:
    """(reserved, joined) of a group."""
    doc = case.doc(Group, group)
    assert doc is not None
    return doc.reserved, doc.joined


def note(answer: Answer) -> str:
    return answer.reason if isinstance(answer, Refusal) else answer.note


def done(answer: Answer) -> Decision:
    assert isinstance(answer, Decision), answer
    return answer
