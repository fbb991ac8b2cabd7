"""What does somebody see of a report, in a list and in full?"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from libs.common.decision import Actor
from libs.common.events import Observation, ReportKind, ReportStatus
from services.reports.domain.reading import is_treating_staff
from services.reports.domain.report import Report, ReportVersion, Status, Why


class ReportLine(BaseModel):
    """A report in a list."""

    id: str
    patient_id: str
    kind: ReportKind
    title: str
    version: int
    issued_at: datetime
    seen: bool


class HeldReport(BaseModel):
    """A report that waits for staff. What tells of its content only for those who may read it."""

    id: str
    patient_id: str
    kind: ReportKind
    title: str | None
    version: int
    issued_at: datetime
    why: Why
    hold_reason: str | None = Field(description="Why the hospital's system holds it, if it says.")
    untold: bool = Field(description="It is critical, and names nobody who could be told.")
    ordering_practitioner_id: str | None


class ReportView(BaseModel):
    """A report as it is now. ``status`` is FHIR's, ``release`` says who may see it."""

    id: str
    patient_id: str
    kind: ReportKind
    code: str
    title: str
    status: ReportStatus
    release: Status
    why: Why | None
    version: int
    issued_at: datetime
    effective_at: datetime | None
    department_code: str | None
    encounter_id: str | None
    observations: tuple[Observation, ...]
    conclusion: str | None
    correction: str | None


class Released(BaseModel):
    id: str
    status: Status


def line(report: Report, person: str) -> ReportLine:
    head = report.head
    assert head is not None  # it is released
    seen = any(s.person_id == person and s.edition == head.edition for s in report.seen)
    return ReportLine(
        id=report.id,
        patient_id=report.patient_id,
        kind=head.kind,
        title=head.title,
        version=head.number,
        issued_at=head.issued_at,
        seen=seen,
    )


def held_report(report: Report, actor: Actor) -> HeldReport:
    head = report.head
    assert head is not None and report.why is not None  # it is kept back
    may_read = is_treating_staff(actor, head)
    return HeldReport(
        id=report.id,
        patient_id=report.patient_id,
        kind=head.kind,
        title=head.title if may_read else None,
        version=head.number,
        issued_at=head.issued_at,
        why=report.why,
        hold_reason=head.hold_reason if may_read else None,
        untold=report.untold,
        ordering_practitioner_id=head.ordering_practitioner_id,
    )


def view(report: Report, content: ReportVersion) -> ReportView:
    head = report.head
    assert head is not None
    return ReportView(
        id=report.id,
        patient_id=report.patient_id,
        release=report.status,
        why=report.why,
        version=head.number,
        observations=content.observations,
        conclusion=content.conclusion,
        correction=content.correction,
        **head.model_dump(
            include={
                "kind",
                "code",
                "title",
                "status",
                "issued_at",
                "effective_at",
                "department_code",
                "encounter_id",
            }
        ),
    )
