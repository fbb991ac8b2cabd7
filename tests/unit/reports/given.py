"""A hospital with reports, for the tests of the rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from libs.common.decision import Actor, Input
from libs.common.events import (
    Contact,
    Event,
    GuardianLinked,
    NotificationRequested,
    PatientRegistered,
    Relationship,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
)
from services.reports.domain.policy import ReportPolicies
from services.reports.domain.report import Report
from services.reports.handlers import HANDLERS
from services.reports.main import load_policy
from services.reports.settings import Settings
from services.reports.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ADULT = date(1970, 5, 1)
CHILD = date(2018, 5, 1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@cache
def policies() -> ReportPolicies:
    return load_policy(Settings(policies_dir=Path("policies")))


#: When an event says that it happened.
HAPPENED = (
    "issued_at", "updated_at", "merged_at", "deceased_at", "linked_at", "unlinked_at",
    "joined_at", "given_at", "withdrawn_at",
)  # fmt: skip


class Hospital(Case):
    """A ``Case`` that is told of nothing before it happened, unless ``time`` says otherwise."""

    def event_input(
        self, data: Event, *, id: str = "", time: datetime | None = None, **more: Any
    ) -> Input:
        happened = (getattr(data, name, None) or self.now for name in HAPPENED)
        return super().event_input(data, id=id, time=time or max(self.now, *happened), **more)


def hospital(**more: Any) -> Case:
    return Hospital(HANDLERS, policies(), now=more.pop("now", NOW), collections=COLLECTIONS)


def content(
    version: int = 1, *, corrected: bool = False, at: datetime = NOW, **more: Any
) -> ReportReady | ReportCorrected:
    """A final laboratory report of patient p1, ordered by dr1 of cardiology."""
    fields: dict[str, Any] = {
        "report_id": "r1",
        "patient_id": "p1",
        "kind": ReportKind.LABORATORY,
        "code": "24323-8",
        "title": "Metabolic panel",
        "status": ReportStatus.CORRECTED if corrected else ReportStatus.FINAL,
        "version": version,
        "ordering_practitioner_id": "dr1",
        "department_code": "cardiology",
        "issued_at": at,
        **more,
    }
    return ReportCorrected(**fields) if corrected else ReportReady(**fields)


def withdrawn(version: int | None = None, at: datetime = NOW, **more: Any) -> ReportWithdrawn:
    fields = {"report_id": "r1", "patient_id": "p1", **more}
    return ReportWithdrawn(version=version, withdrawn_at=at, **fields)


def patient(id: str = "p1", born: date = ADULT, at: datetime = NOW) -> PatientRegistered:
    return PatientRegistered(patient_id=id, name="Test Person", birth_date=born, updated_at=at)


def guardian(person: str = "g1", of: str = "p1", at: datetime = NOW, **more: Any) -> GuardianLinked:
    return GuardianLinked(
        patient_id=of,
        person_id=person,
        relationship=Relationship.MOTHER,
        verified_by="id_card",
        linked_at=at,
        contact=Contact(name="Test Guardian"),
        **more,
    )


def told(case: Case) -> list[tuple[str, str]]:
    """Who was told, and by which template, in order."""
    return [(n.recipient_id, n.template) for n in case.events(NotificationRequested)]


def report(case: Case, id: str = "r1") -> Report:
    found = case.doc(Report, id)
    assert found is not None
    return found


PATIENT = Actor("p1", frozenset({"patient"}))
DOCTOR = Actor("dr2", frozenset({"doctor"}), frozenset({"cardiology"}))
NURSE = Actor("n1", frozenset({"nurse"}), frozenset({"cardiology"}))
OTHER_DOCTOR = Actor("dr9", frozenset({"doctor"}), frozenset({"surgery"}))
