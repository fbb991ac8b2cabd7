"""What is known of a report?

A report's facts arrive in any order: a correction before the report, a withdrawal before
both, the same one twice. Every way of joining them here is commutative and idempotent:

* Of all contents the newest holds: by version, then by when it was issued, then by when
  it was published. An older one is kept and changes nothing.
* A withdrawal covers contents up to a version, or up to a moment; a newer one lives.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, Input, derived_id, in_ms, when
from libs.common.events import (
    Observation,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    Sensitive,
)
from services.reports.domain.policy import ReportPolicy


class Status(StrEnum):
    """What the patient's side may see of a report."""

    PRELIMINARY = "preliminary"
    HELD = "held"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"


class Why(StrEnum):
    """Why a report has its status, where the status alone does not say so."""

    PRELIMINARY = "preliminary"  # it is not final yet
    HELD = "held"  # the hospital's system holds it, and only that lifts it
    CRITICAL = "critical"  # a danger value: the doctor is told, and releases it
    TALK_FIRST = "talk_first"  # by policy a doctor talks first, and releases it
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"  # its newest content says that there is no report


Content = ReportReady | ReportCorrected
Rank = tuple[int, datetime, datetime, str]


class ReportVersion(Document):
    """One content as it came. Never changed; all of them are kept."""

    COLLECTION: ClassVar[str] = "report_versions"

    report_id: str
    number: int
    received_at: datetime
    observations: Sensitive[tuple[Observation, ...]] = ()
    conclusion: Sensitive[str | None] = None
    correction: Sensitive[str | None] = None

    @staticmethod
    def id_of(input: Input) -> str:
        return derived_id("report-version", input.subject, input.source, input.id)


class Head(BaseModel):
    """The newest content, without what it found."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    content_id: str
    number: int
    edition: str
    issued_at: datetime
    published_at: datetime
    kind: ReportKind
    code: str
    title: Sensitive[str]
    status: ReportStatus
    on_hold: bool
    hold_reason: str | None = None
    critical: bool
    talk_first: bool
    ordering_practitioner_id: str | None = None
    department_code: str | None = None
    encounter_id: str | None = None
    effective_at: datetime | None = None

    @property
    def rank(self) -> Rank:
        return (self.number, self.issued_at, self.published_at, self.content_id)

    @property
    def issue(self) -> str:
        """What a doctor has seen who releases it: the edition as it was issued then."""
        return f"{self.edition}@{int(self.issued_at.timestamp() * 1000)}"

    @classmethod
    def of(cls, input: Input, policy: ReportPolicy) -> Head:
        event: Content = input.data
        codes = [event.code, *(o.code for o in event.observations)]
        interpretations = [o.interpretation for o in event.observations]
        return cls(
            content_id=ReportVersion.id_of(input),
            number=event.version,
            edition=edition_of(event),
            issued_at=when(input, event.issued_at),
            published_at=in_ms(input.time),
            on_hold=event.hold.on,
            hold_reason=event.hold.reason,
            critical=event.critical or policy.is_critical(interpretations),
            talk_first=policy.is_talked_of_first(event.kind, codes),
            **event.model_dump(
                include={
                    "kind",
                    "code",
                    "title",
                    "status",
                    "ordering_practitioner_id",
                    "department_code",
                    "encounter_id",
                    "effective_at",
                }
            ),
        )


def edition_of(event: Content) -> str:
    """Of what a person is told once: a version, sent again or not.

    A correction counts by when it was issued, too: a publisher that forgets to raise the
    version when correcting must not leave people with what was wrong.
    """
    if isinstance(event, ReportCorrected):
        return f"{event.version}.{int(event.issued_at.timestamp() * 1000)}"
    return str(event.version)


class Release(BaseModel):
    """An edition became visible to the side of ``patient_id``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    edition: str
    patient_id: str
    at: datetime


class Person(BaseModel):
    """``person_id`` was told of an edition, or has seen it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    edition: str
    person_id: str


class AlarmStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"  # a doctor has released the report
    OVER = "over"  # the doctor was told that it no longer holds


class Alarm(BaseModel):
    """A doctor was told that the edition ``of`` is critical; ``edition`` tells it from others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    edition: str
    of: str
    patient_id: str
    person_id: str
    status: AlarmStatus = AlarmStatus.OPEN


class Report(Document):
    """One report: what is known of it, who was told, who has seen it."""

    COLLECTION: ClassVar[str] = "reports"

    patient_id: str
    status: Status
    why: Why | None = None
    head: Head | None = None
    #: Copies of the head's, to find and sort by: the head is sealed for its title.
    issued_at: datetime | None = None
    department_code: str | None = None
    ordering_practitioner_id: str | None = None
    #: Contents up to this version are withdrawn.
    withdrawn_number: int = 0
    #: Contents issued, or published, up to these moments are withdrawn.
    withdrawn_issued: datetime | None = None
    withdrawn_published: datetime | None = None
    #: Issues that a doctor has released (critical, or to be talked of first).
    cleared: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    #: The time from which telling people counts, not the time of a replay; and whether
    #: telling was over when the head arrived.
    occurred_at: datetime | None = None
    backfill: bool = False
    #: The patient, while more people may come to be told of the released edition.
    open_for: str | None = None
    #: How often what was shown was taken from its patient's side.
    recalls: int = 0
    told: tuple[Person, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    #: A doctor was told, and has not released it yet.
    alarmed: bool = False
    #: The head is critical and names nobody who could be told: lists are all there is.
    untold: bool = False
    seen: tuple[Person, ...] = ()

    @property
    def shown(self) -> Head | None:
        """What the patient's side sees now."""
        return self.head if self.status is Status.RELEASED else None

    def telling(self, head: Head) -> str:
        """Of what people are told once: an edition, and anew after it was taken from them."""
        return f"{head.edition}/{self.recalls}" if self.recalls else head.edition

    def was_shown_to(self, patients: frozenset[str]) -> bool:
        return any(r.patient_id in patients for r in self.releases)
