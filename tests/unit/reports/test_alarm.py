"""Does the doctor who was told of a danger value learn that it was none, and find it till then?"""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.events import (
    NotificationCancelled,
    NotificationRequested,
    ReportKind,
    ReportStatus,
    Urgency,
)
from services.reports.domain.arrival import ReleaseReport
from services.reports.domain.report import Why
from services.reports.handlers import RELEASE
from tests.support.rules import Case
from tests.unit.reports.given import (
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    content,
    hospital,
    patient,
    report,
    told,
    withdrawn,
)

CRITICAL = ("dr1", "report.critical")


def alarmed(**more: Any) -> Case:
    """A hospital whose doctor dr1 was told of a danger value of p1."""
    case = hospital()
    case.event(patient())
    case.event(content(critical=True, **more))
    assert told(case) == [CRITICAL]
    return case


def released(case: Case) -> Case:
    case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    return case


def to_doctors(case: Case) -> list[tuple[str, str]]:
    return [t for t in told(case) if t[0].startswith("d")]


def test_the_doctor_is_told_that_a_danger_value_was_corrected() -> None:
    case = alarmed()
    case.event(content(2, corrected=True, at=NOW + HOUR))
    assert to_doctors(case) == [CRITICAL, ("dr1", "report.critical_corrected")]
    first, second = (n for n in case.events(NotificationRequested) if n.recipient_id == "dr1")
    (off,) = case.events(NotificationCancelled)
    assert (off.notification_id, off.recipient_id) == (first.notification_id, "dr1")
    assert (second.urgency, second.health_data) == (Urgency.CRITICAL, False)
    assert second.parameters == {"kind": "laboratory", "report_id": "r1"}


@pytest.mark.parametrize(
    "end",
    [
        withdrawn(at=NOW + HOUR),
        withdrawn(1, at=NOW + HOUR),
        content(2, status=ReportStatus.ENTERED_IN_ERROR, critical=True, at=NOW + HOUR),
        content(2, status=ReportStatus.CANCELLED, at=NOW + HOUR),
    ],
)
def test_the_doctor_is_told_that_a_critical_report_was_withdrawn(end: Any) -> None:
    case = alarmed()
    case.event(end)
    case.event(end, id="sent-again")
    assert to_doctors(case) == [CRITICAL, ("dr1", "report.critical_withdrawn")]
    assert len(case.events(NotificationCancelled)) == 1
    assert not report(case).alarmed


def test_a_preliminary_danger_value_that_the_final_report_does_not_confirm_is_taken_back() -> None:
    case = alarmed(status=ReportStatus.PRELIMINARY)
    case.event(content(at=NOW + HOUR))
    assert to_doctors(case) == [CRITICAL, ("dr1", "report.critical_corrected")]


def test_what_was_released_before_it_turned_out_to_be_wrong_is_taken_back_too() -> None:
    case = released(alarmed())
    case.event(content(2, corrected=True, at=NOW + HOUR))
    assert to_doctors(case) == [CRITICAL, ("dr1", "report.critical_corrected")]


def test_a_danger_value_that_stays_one_is_not_taken_back() -> None:
    case = alarmed()
    case.event(content(2, corrected=True, critical=True, at=NOW + HOUR))
    assert told(case) == [CRITICAL, CRITICAL]
    case.event(content(3, corrected=True, at=NOW + 2 * HOUR))
    # Told of both, the doctor is told once that neither holds.
    assert to_doctors(case) == [CRITICAL, CRITICAL, ("dr1", "report.critical_corrected")]
    assert len(case.events(NotificationCancelled)) == 2


def test_a_danger_value_of_another_patient_is_taken_back_and_told_anew() -> None:
    case = alarmed()
    case.event(content(2, corrected=True, critical=True, patient_id="p2", at=NOW + HOUR))
    pushes = case.events(NotificationRequested)
    assert [(n.template, n.patient_id) for n in pushes] == [
        ("report.critical", "p1"),
        ("report.critical_corrected", "p1"),
        ("report.critical", "p2"),
    ]


def test_a_danger_value_that_comes_again_after_its_end_is_told_again() -> None:
    case = alarmed()
    case.event(withdrawn(at=NOW + HOUR))
    case.advance(2 * HOUR)
    case.event(content(critical=True, at=case.now))
    assert to_doctors(case) == [CRITICAL, ("dr1", "report.critical_withdrawn"), CRITICAL]
    ids = [n.notification_id for n in case.events(NotificationRequested)]
    assert len(set(ids)) == 3


def test_nobody_who_was_not_told_is_told_of_the_end() -> None:
    case = hospital()
    case.event(patient())
    case.event(content(critical=True, ordering_practitioner_id=None))
    case.event(content(2, corrected=True, at=NOW + HOUR))
    assert told(case) == [("p1", "report.ready")]


# -- released, and sent again -----------------------------------------------------------


@pytest.mark.parametrize("first", [{"critical": True}, {"kind": ReportKind.PATHOLOGY}])
def test_a_release_clears_what_the_doctor_saw_and_not_what_comes_under_its_version(
    first: dict[str, Any],
) -> None:
    case = hospital()
    case.event(patient())
    case.event(content(**first))
    released(case)
    before = len(to_doctors(case))
    case.event(content(critical=True, at=NOW + HOUR))
    assert report(case).why is Why.CRITICAL
    assert len(to_doctors(case)) == before + 1
    assert report(case).alarmed


def test_what_was_released_stays_so_when_it_is_sent_again() -> None:
    case = released(alarmed())
    case.advance(DAY)
    case.event(content(critical=True), id="sent-again")
    assert report(case).shown is not None
    assert to_doctors(case) == [CRITICAL]


# -- finding it -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [ReportStatus.FINAL, ReportStatus.PRELIMINARY])
def test_a_report_of_which_a_doctor_was_told_is_marked_until_it_is_released(
    status: ReportStatus,
) -> None:
    case = alarmed(status=status)
    assert report(case).alarmed
    case.event(content(critical=True, at=NOW + HOUR))
    assert report(case).alarmed
    assert not report(released(case)).alarmed
