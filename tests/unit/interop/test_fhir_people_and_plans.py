"""Which events do staff, orders and appointments give?"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from libs.common.events import (
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    PractitionerLeft,
    PractitionerRegistered,
    PractitionerUpdated,
    ReportKind,
    StaffRole,
)
from tests.unit.interop.fhir_given import (
    LOINC,
    Sender,
    codes,
    concept,
    faults,
    only,
    organization,
    patient,
    practitioner,
    transaction,
)
from tests.unit.interop.hl7_given import profile

SCT = "http://snomed.info/sct"


def role(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "PractitionerRole",
        "id": "pr1",
        "practitioner": {"reference": "Practitioner/d1"},
        "organization": {"reference": "Organization/o1"},
        "code": [concept("http://terminology.hl7.org/CodeSystem/practitioner-role", "doctor")],
        **differs,
    }


def test_a_practitioner_is_told_with_the_roles_and_departments_that_they_have() -> None:
    sender = Sender(profile(fhir={"licences": ["LICENCE"]}))
    licensed = practitioner(
        qualification=[
            {"code": {"coding": [{"code": "LICENCE"}]}, "period": {"start": "2015-09-01"}},
            {"code": {"coding": [{"code": "MD"}]}, "period": {"start": "2010-09-01"}},
        ]
    )
    found = only(sender.told(organization(), licensed, role()), PractitionerRegistered)
    assert (found.practitioner_id, found.roles) == ("D-1", (StaffRole.DOCTOR,))
    assert (found.departments, found.practising_since) == (("NEURO",), date(2015, 9, 1))


def test_a_role_that_comes_later_changes_the_record_and_one_that_ends_ends_it() -> None:
    sender = Sender()
    sender.told(organization(), practitioner(), role())
    nurse = role(id="pr2", code=[{"coding": [{"code": "nurse"}]}])
    both = only(sender.put(nurse).events, PractitionerUpdated)
    assert set(both.roles) == {StaffRole.DOCTOR, StaffRole.NURSE}
    only(sender.put({**nurse, "active": False}).events, PractitionerUpdated)
    left = only(sender.put(role(period={"end": "2026-11-01"})).events, PractitionerLeft)
    assert left.practitioner_id == "D-1"


def test_who_has_no_role_is_not_told_of_and_who_is_inactive_has_left() -> None:
    sender = Sender()
    received = sender.send(transaction(practitioner()))
    assert (received.events, codes(received)) == ((), {"staff_not_told"})
    only(sender.put(practitioner(active=False)).events, PractitionerLeft)


def order(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": "s1",
        "status": "active",
        "intent": "order",
        "category": [concept(SCT, "363679005")],
        "code": concept(LOINC, "24725-4", "头颅 CT"),
        "subject": {"reference": "Patient/p1"},
        "requester": {"reference": "Practitioner/d1"},
        "patientInstruction": "空腹",
        **differs,
    }


def appointment(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "t1",
        "status": "booked",
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "start": "2026-12-03T08:30:00+08:00",
        "end": "2026-12-03T09:00:00+08:00",
        "participant": [
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
            {"actor": {"reference": "Location/l1"}, "status": "accepted"},
        ],
        **differs,
    }


LOCATION = {"resourceType": "Location", "id": "l1", "name": "影像楼 2 层"}


def test_an_order_makes_an_examination_known_and_an_appointment_gives_it_a_time() -> None:
    sender = Sender()
    plan = only(sender.told(patient(), practitioner(), order()), ExamScheduled)
    assert (plan.exam_id, plan.kind, plan.title) == ("s1@ehr", ReportKind.IMAGING, "头颅 CT")
    assert (plan.ordering_practitioner_id, plan.instructions) == ("D-1", "空腹")
    assert plan.starts_at is None
    timed = only(sender.told(LOCATION, appointment()), ExamScheduled)
    assert (timed.exam_id, timed.location) == ("s1@ehr", "影像楼 2 层")
    assert timed.starts_at == datetime(2026, 12, 3, 0, 30, tzinfo=UTC)
    assert sender.put(appointment()).events == ()
    later = sender.put(appointment(start="2026-12-04T08:30:00+08:00")).events
    assert only(later, ExamRescheduled).starts_at == datetime(2026, 12, 4, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "reason"), [("cancelled", None), ("noshow", "no_show"), ("entered-in-error", None)]
)
def test_an_appointment_that_will_not_be_cancels_its_examination(
    status: str, reason: str | None
) -> None:
    sender = Sender()
    sender.told(patient(), practitioner(), order(), LOCATION, appointment())
    gone = only(sender.put(appointment(status=status)).events, ExamCancelled)
    assert (gone.exam_id, gone.reason) == ("s1@ehr", reason)


@pytest.mark.parametrize("status", ["revoked", "entered-in-error"])
def test_an_order_that_is_taken_back_cancels_its_examination(status: str) -> None:
    sender = Sender()
    sender.told(patient(), practitioner(), order())
    assert only(sender.put(order(status=status)).events, ExamCancelled)


@pytest.mark.parametrize(
    "differs",
    [
        {"status": "draft"},
        {"status": "completed"},
        {"intent": "proposal"},
        {"category": [concept(SCT, "409063005")]},
        {"category": []},
    ],
)
def test_what_is_no_examination_that_is_planned_tells_nothing(differs: dict[str, Any]) -> None:
    asked = {n: v for n, v in order(**differs).items() if v != []}
    received = Sender().send(transaction(patient(), practitioner(), asked))
    assert not [e for e in received.events if e.TOPIC == "hospital.exams"]
    assert "not_used" in codes(received)


def test_an_appointment_without_an_examination_tells_nothing() -> None:
    visit = {n: v for n, v in appointment().items() if n != "basedOn"}
    received = Sender().send(transaction(patient(), LOCATION, visit))
    assert not [e for e in received.events if e.TOPIC == "hospital.exams"]


def test_an_unknown_status_is_refused_at_its_place() -> None:
    found = Sender().send(transaction(patient(), practitioner(), order(status="bogus")))
    assert faults(found) == [("Bundle.entry[2].resource.status", "code-invalid")]
