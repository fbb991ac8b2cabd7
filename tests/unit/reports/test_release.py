"""What is published and who is told when facts about a report come in?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.decision import Decision, Refusal
from libs.common.events import (
    Hold,
    Interpretation,
    NotificationCancelled,
    NotificationRequested,
    Observation,
    PatientDeceased,
    ReportKind,
    ReportStatus,
    ResultRecalled,
    ResultReleased,
    Urgency,
)
from services.reports.domain.arrival import ReleaseReport
from services.reports.domain.report import ReportVersion, Status, Why
from services.reports.handlers import RELEASE
from tests.support.rules import Case
from tests.unit.reports.given import (
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    NURSE,
    OTHER_DOCTOR,
    PATIENT,
    content,
    hospital,
    patient,
    report,
    told,
    withdrawn,
)


def known() -> Case:
    case = hospital()
    case.event(patient())
    return case


def test_a_final_report_is_released_and_the_patient_told() -> None:
    case = known()
    case.event(content(observations=(Observation(code="2345-7", display="Glucose", value=5.6),)))
    (released,) = case.events(ResultReleased)
    assert (released.report_id, released.version, released.corrected) == ("r1", 1, False)
    assert told(case) == [("p1", "report.ready")]


def test_a_push_holds_neither_result_nor_title() -> None:
    case = known()
    case.event(
        content(
            title="HIV screening",
            conclusion="reactive",
            observations=(Observation(code="x", display="HIV antibody", value="positive"),),
        )
    )
    (push,) = case.events(NotificationRequested)
    text = push.model_dump_json()
    assert not any(word in text for word in ("HIV", "reactive", "positive", "antibody"))
    assert push.parameters == {"kind": "laboratory", "report_id": "r1"}
    assert push.health_data


def test_a_push_expires_counted_from_when_the_report_was_issued() -> None:
    case = known()
    case.event(content(at=NOW - 3 * DAY))
    (push,) = case.events(NotificationRequested)
    assert push.event_time == NOW - 3 * DAY
    assert push.expires_at == NOW + 4 * DAY


def test_a_report_from_the_future_is_told_from_now() -> None:
    case = known()
    case.event(content(at=NOW + 900 * DAY), time=NOW)
    (push,) = case.events(NotificationRequested)
    assert push.event_time == NOW


@pytest.mark.parametrize("age", [7 * DAY, 8 * DAY, 60_000 * DAY])
def test_a_backfill_is_released_and_nobody_is_told(age: timedelta) -> None:
    case = known()
    case.event(content(at=NOW - age))
    assert report(case).status is Status.RELEASED
    assert told(case) == []
    assert case.timers == {}


def test_a_report_just_within_the_days_is_told() -> None:
    case = known()
    case.event(content(at=NOW - 7 * DAY + timedelta(milliseconds=1)))
    assert told(case) == [("p1", "report.ready")]


def test_a_critical_backfill_wakes_no_doctor() -> None:
    case = known()
    case.event(content(at=NOW - 8 * DAY, critical=True))
    case.event(withdrawn())
    assert told(case) == []


def test_the_same_event_twice_tells_once() -> None:
    case = known()
    case.event(content(), id="e")
    case.event(content(), id="e")
    case.event(content(), id="another")
    assert told(case) == [("p1", "report.ready")]
    assert len(case.events(ResultReleased)) == 1


@pytest.mark.parametrize("status", [ReportStatus.PRELIMINARY, ReportStatus.PARTIAL])
def test_a_preliminary_report_is_told_once_it_is_final(status: ReportStatus) -> None:
    case = known()
    case.event(content(1, status=status))
    assert told(case) == []
    case.event(content(1, at=NOW + HOUR))
    assert told(case) == [("p1", "report.ready")]


def test_a_hold_that_is_lifted_late_still_tells() -> None:
    case = known()
    case.event(content(hold=Hold(on=True)))
    assert told(case) == []
    case.advance(20 * DAY)
    case.event(content())
    (push,) = case.events(NotificationRequested)
    assert push.event_time == case.now
    assert push.expires_at == case.now + 7 * DAY


def test_a_hold_of_long_ago_that_is_lifted_tells_nobody() -> None:
    case = known()
    case.event(content(at=NOW - 400 * DAY, hold=Hold(on=True)))
    case.event(content(at=NOW - 400 * DAY))
    assert report(case).status is Status.RELEASED
    assert told(case) == []


def test_a_critical_report_tells_the_ordering_doctor_only() -> None:
    case = known()
    case.event(content(critical=True))
    (push,) = case.events(NotificationRequested)
    assert (push.recipient_id, push.template) == ("dr1", "report.critical")
    assert push.urgency is Urgency.CRITICAL
    assert not push.health_data
    assert (report(case).status, report(case).why) == (Status.HELD, Why.CRITICAL)


@pytest.mark.parametrize("word", [Interpretation.CRITICALLY_LOW, Interpretation.CRITICALLY_HIGH])
def test_a_danger_value_is_critical_without_the_flag(word: Interpretation) -> None:
    case = known()
    line = Observation(code="2823-3", display="Potassium", value=7.1, interpretation=word)
    case.event(content(observations=(line,)))
    assert told(case) == [("dr1", "report.critical")]


def test_a_preliminary_critical_report_tells_the_doctor_once() -> None:
    case = known()
    case.event(content(1, critical=True, status=ReportStatus.PRELIMINARY))
    case.event(content(1, critical=True, at=NOW + HOUR))
    assert told(case) == [("dr1", "report.critical")]


@pytest.mark.parametrize("status", [ReportStatus.FINAL, ReportStatus.PRELIMINARY])
def test_a_critical_report_without_a_doctor_tells_who_is_on_duty(status: ReportStatus) -> None:
    case = known()
    nobody: dict[str, Any] = {"ordering_practitioner_id": None, "department_code": "NEURO"}
    case.event(content(critical=True, status=status, **nobody))
    case.event(content(critical=True, status=status, **nobody), id="sent-again")
    assert told(case) == [("d-3001", "report.critical")]
    assert not report(case).untold


@pytest.mark.parametrize("status", [ReportStatus.FINAL, ReportStatus.PRELIMINARY])
@pytest.mark.parametrize("department", ["cardiology", None])
def test_a_critical_report_of_which_nobody_can_be_told_is_marked(
    department: str | None, status: ReportStatus
) -> None:
    case = known()
    nobody: dict[str, Any] = {"ordering_practitioner_id": None, "department_code": department}
    answer = case.event(content(critical=True, status=status, **nobody))
    assert isinstance(answer, Decision) and answer.note == "critical_untold"
    assert told(case) == []
    assert report(case).untold
    case.event(content(critical=True, status=status), id="with-a-doctor", time=NOW + HOUR)
    assert told(case) == [("dr1", "report.critical")]
    assert not report(case).untold


def test_what_is_not_critical_any_more_is_not_marked() -> None:
    case = known()
    nobody: dict[str, Any] = {"ordering_practitioner_id": None, "department_code": None}
    case.event(content(1, critical=True, **nobody))
    case.event(content(2, corrected=True, at=NOW + HOUR, **nobody))
    assert not report(case).untold


def test_a_critical_report_that_is_already_withdrawn_tells_no_doctor() -> None:
    case = known()
    case.event(withdrawn(at=NOW + HOUR))
    case.event(content(critical=True))
    assert told(case) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": ReportKind.PATHOLOGY},
        {"code": "56888-1"},
        {"observations": (Observation(code="31201-7", display="HIV antibody", value="neg"),)},
    ],
)
def test_what_is_talked_of_first_is_held(fields: dict[str, Any]) -> None:
    case = known()
    case.event(content(**fields))
    assert (report(case).status, report(case).why) == (Status.HELD, Why.TALK_FIRST)
    assert told(case) == []


# -- corrections and withdrawals --------------------------------------------------------


def test_a_correction_replaces_and_tells_again() -> None:
    case = known()
    case.event(content(1))
    case.event(content(2, corrected=True, at=NOW + HOUR))
    assert told(case) == [("p1", "report.ready"), ("p1", "report.corrected")]
    assert [(r.version, r.corrected) for r in case.events(ResultReleased)] == [
        (1, False),
        (2, True),
    ]
    (off,) = case.events(NotificationCancelled)
    assert off.notification_id == case.events(NotificationRequested)[0].notification_id
    assert len(case.docs(ReportVersion, report_id="r1")) == 2


def test_a_correction_that_forgot_to_raise_the_version_tells_again() -> None:
    case = known()
    case.event(content(1))
    case.event(content(1, corrected=True, at=NOW + HOUR))
    case.event(content(1, corrected=True, at=NOW + HOUR), id="sent-again")
    assert told(case) == [("p1", "report.ready"), ("p1", "report.corrected")]


def test_an_older_correction_never_replaces_a_newer_one() -> None:
    case = known()
    case.event(content(3, corrected=True, at=NOW + 2 * HOUR))
    case.event(content(2, corrected=True, at=NOW + HOUR))
    case.event(content(1))
    head = report(case).head
    assert head is not None and head.number == 3
    assert told(case) == [("p1", "report.ready")]
    assert len(case.docs(ReportVersion, report_id="r1")) == 3


def test_a_withdrawn_report_is_recalled_and_its_push_called_off() -> None:
    case = known()
    case.event(content())
    case.event(withdrawn(at=NOW + HOUR))
    (recalled,) = case.events(ResultRecalled)
    assert (recalled.version, recalled.reason) == (1, "withdrawn")
    (off,) = case.events(NotificationCancelled)
    assert off.recipient_id == "p1"
    assert report(case).status is Status.WITHDRAWN


def test_a_withdrawal_before_its_report_closes_it_at_once() -> None:
    case = known()
    case.event(withdrawn(at=NOW + HOUR))
    case.event(content())
    assert report(case).status is Status.WITHDRAWN
    assert told(case) == []
    assert case.events(ResultReleased) == []
    assert case.events(ResultRecalled) == []


def test_a_withdrawn_report_that_is_sent_again_stays_closed() -> None:
    case = known()
    case.event(content())
    case.event(withdrawn(at=NOW + HOUR))
    case.advance(DAY)
    case.event(content(), id="sent-again")
    assert report(case).status is Status.WITHDRAWN


def test_a_laboratory_clock_that_is_ahead_does_not_save_a_withdrawn_report() -> None:
    case = known()
    case.event(content(at=NOW + HOUR), time=NOW)
    case.event(withdrawn(at=NOW), time=NOW + timedelta(minutes=1))
    assert report(case).status is Status.WITHDRAWN


def test_a_version_issued_after_the_withdrawal_is_released() -> None:
    case = known()
    case.event(content(1))
    case.event(withdrawn(1, at=NOW + HOUR))
    case.advance(2 * HOUR)
    case.event(content(2, at=case.now))
    assert report(case).status is Status.RELEASED
    assert told(case) == [("p1", "report.ready"), ("p1", "report.corrected")]


def test_a_correction_that_is_held_recalls_what_was_wrong() -> None:
    case = known()
    case.event(content(1))
    case.event(content(2, corrected=True, hold=Hold(on=True), at=NOW + HOUR))
    (recalled,) = case.events(ResultRecalled)
    assert recalled.reason == "held"
    assert report(case).shown is None


def test_a_report_that_was_filed_under_another_patient_changes_sides() -> None:
    case = known()
    case.event(patient("p2"))
    case.event(content(1))
    case.event(content(2, corrected=True, patient_id="p2", at=NOW + HOUR))
    (recalled,) = case.events(ResultRecalled)
    assert (recalled.patient_id, recalled.reason) == ("p1", "other_patient")
    assert [r.patient_id for r in case.events(ResultReleased)] == ["p1", "p2"]
    assert told(case) == [("p1", "report.ready"), ("p2", "report.ready")]


# -- a doctor's release -----------------------------------------------------------------


def test_a_doctor_releases_after_talking_and_the_patient_is_told() -> None:
    case = known()
    case.event(content(kind=ReportKind.PATHOLOGY))
    case.advance(30 * DAY)
    answer = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    assert isinstance(answer, Decision)
    assert answer.result == {"id": "r1", "status": "released"}
    assert told(case) == [("p1", "report.ready")]
    again = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    assert isinstance(again, Decision)
    assert told(case) == [("p1", "report.ready")]


def test_a_release_of_a_critical_report_does_not_tell_the_doctor_again() -> None:
    case = known()
    case.event(content(critical=True))
    case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    assert told(case) == [("dr1", "report.critical"), ("p1", "report.ready")]


def test_a_release_holds_for_one_edition_only() -> None:
    case = known()
    case.event(content(1, critical=True))
    case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    case.event(content(2, corrected=True, critical=True, at=NOW + HOUR))
    assert report(case).why is Why.CRITICAL


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": ReportStatus.PRELIMINARY}, "not_final"),
        ({"hold": Hold(on=True)}, "held_by_hospital"),
        ({"status": ReportStatus.CANCELLED}, "withdrawn"),
    ],
)
def test_a_doctor_cannot_release(fields: dict[str, Any], reason: str) -> None:
    case = known()
    case.event(content(**fields))
    answer = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    assert isinstance(answer, Refusal)
    assert answer.reason == reason


@pytest.mark.parametrize("actor", [PATIENT, NURSE, OTHER_DOCTOR, None])
def test_nobody_else_releases(actor: object) -> None:
    case = known()
    case.event(content(critical=True))
    answer = case.command(RELEASE, ReleaseReport(), actor=actor, subject="r1")  # type: ignore[arg-type]
    assert isinstance(answer, Refusal)
    assert answer.reason == "not_found"


def test_a_release_of_an_unknown_report_is_not_found() -> None:
    case = known()
    case.event(withdrawn(report_id="r2"))
    for id in ("r2", "r3"):
        answer = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject=id)
        assert isinstance(answer, Refusal)
        assert answer.reason == "not_found"


def test_a_release_of_what_has_changed_since_is_refused() -> None:
    case = known()
    case.event(content(critical=True))
    answer = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1", if_match=9)
    assert isinstance(answer, Refusal)
    assert answer.reason == "changed"


def test_nobody_is_told_of_the_dead() -> None:
    case = known()
    case.event(PatientDeceased(patient_id="p1", deceased_at=NOW))
    case.event(content())
    assert report(case).status is Status.RELEASED
    assert told(case) == []
