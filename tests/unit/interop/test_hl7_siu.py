"""What do appointments tell of examinations and visits?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.events import (
    Event,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from services.interop.domain.exam import Booking
from services.interop.edge.hl7.mapping import Mapped
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import codes, mapped, pid, profile, pv1, segment

SCHEDULED, CHANGED, CANCELLED = [ExamScheduled], [ExamRescheduled], [ExamCancelled]
SENT = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)


def sch(**fields: str) -> str:
    return segment("SCH", **{"f1": "A1", "f2": "B1^RIS", **fields})


def ais(code: str = "CT1^胸部CT^99HIS", **fields: str) -> str:
    return segment("AIS", **{"f1": "1", "f3": code, "f4": "20261123083000", **fields})


def read(
    *segments: str, trigger: str = "S12", by: Profile | None = None, of: str | None = None
) -> Mapped:
    return mapped(f"SIU^{trigger}", of or sch(), pid(), *segments, by=by)


def types(found: Mapped) -> list[type[Event]]:
    return [type(e) for e in found.events]


def test_an_appointment_says_when_and_where_what_is_examined() -> None:
    (found,) = read(
        pv1(),
        "RGS|1",
        ais(f7="30", f8="min^Minutes^ISO"),
        "NTE|1||去除金属物品|PI",
        "NTE|2||内部备注",
        "AIL|1|A|CT2^3号机房^^总院^^^影像楼^1层",
    ).events
    assert found == ExamScheduled(
        exam_id="appointment:B1@RIS",
        patient_id="100",
        kind=ReportKind.OTHER,
        code="CT1",
        title="胸部CT",
        starts_at=datetime(2026, 11, 23, 0, 30, tzinfo=UTC),
        ends_at=datetime(2026, 11, 23, 1, 0, tzinfo=UTC),
        location="总院 影像楼 1层 CT2 3号机房",
        encounter_id="V1",
        instructions="去除金属物品",
        scheduled_at=SENT,
    )


@pytest.mark.parametrize(
    ("trigger", "status", "told", "reason"),
    [
        ("S12", "", SCHEDULED, None),
        ("S12", "Booked", SCHEDULED, None),
        ("S12", "own", SCHEDULED, None),
        ("S12", "Pending", [], None),
        ("S12", "Cancelled", CANCELLED, None),
        ("S13", "Booked", CHANGED, None),
        ("S14", "Booked", CHANGED, None),
        ("S14", "Noshow", CANCELLED, "no_show"),
        ("S14", "Complete", [], None),
        ("S15", "Booked", CANCELLED, None),
        ("S16", "Dc", CANCELLED, "discontinued"),
        ("S17", "", CANCELLED, "entered_in_error"),
        ("S26", "", CANCELLED, "no_show"),
    ],
)
def test_what_becomes_of_an_examination_is_said_by_the_trigger_and_the_fillers_status(
    trigger: str, status: str, told: list[type[Event]], reason: str | None
) -> None:
    found = read(ais(), trigger=trigger, of=sch(f25=status))
    assert types(found) == told
    assert [e.reason for e in found.events if isinstance(e, ExamCancelled)] == (
        [reason] if told == CANCELLED else []
    )


def test_an_appointment_of_an_order_is_about_that_orders_examination() -> None:
    for fields in ({"f26": "P1^HIS"}, {"f27": "P1^HIS"}, {"f26": "P1^HIS", "f27": "F1"}):
        (found,) = read(ais(), of=sch(**fields)).events
        assert found.exam_id == "P1@HIS"  # type: ignore[attr-defined]
    (gone,) = read(trigger="S15", of=sch(f26="P1^HIS")).events
    assert gone.exam_id == "P1@HIS"  # type: ignore[attr-defined]


def test_several_services_are_several_examinations_each_with_its_order_or_its_code() -> None:
    services = (ais(), ais("US1^彩超"), ais("KF^血糖"))
    assert [e.exam_id for e in read(*services, of=sch(f26="P1~P2")).events] == [  # type: ignore[attr-defined]
        "P1",
        "P2",
        "appointment:B1@RIS:KF",
    ]
    ids = [e.exam_id for e in read(*services).events]  # type: ignore[attr-defined]
    assert ids == ["appointment:B1@RIS", "appointment:B1@RIS:US1", "appointment:B1@RIS:KF"]
    assert [e.exam_id for e in read(of=sch(f26="P1~P2"), trigger="S15").events] == ["P1", "P2"]  # type: ignore[attr-defined]


def test_a_cancellation_without_its_services_cancels_the_first_and_says_so() -> None:
    found = read(trigger="S15")
    assert types(found) == CANCELLED and codes(found) == {"services_not_named"}


CATALOGUE: dict[str, Any] = {
    "exam": {"codes": {"WJ": {"kind": "endoscopy", "title": "胃镜检查"}, "HY": {"kind": None}}},
    "appointment": {"codes": {"JC": "exam", "MZ": "visit", "TJ": "other"}},
}


@pytest.mark.parametrize(
    ("type", "services", "order", "otherwise", "told"),
    [
        ("", ["CT1"], "", "exam", SCHEDULED),
        ("", ["CT1"], "", "visit", []),
        ("", ["CT1"], "P1", "visit", SCHEDULED),
        ("", ["WJ"], "", "visit", SCHEDULED),
        ("", ["HY"], "", "exam", []),
        ("", ["HY", "WJ"], "", "visit", SCHEDULED),
        ("", [], "", "exam", []),
        ("JC", ["CT1"], "", "visit", SCHEDULED),
        ("MZ", ["CT1"], "", "exam", []),
        ("TJ", ["WJ"], "P1", "exam", []),
        ("NORMAL", ["CT1"], "", "exam", SCHEDULED),
    ],
)
def test_what_an_appointment_is_for_is_said_by_its_type_its_services_and_its_order(
    type: str, services: list[str], order: str, otherwise: str, told: list[type]
) -> None:
    by = profile(tables=CATALOGUE, exams={"appointment": otherwise})
    found = read(*map(ais, services), of=sch(f8=type, f26=order), by=by)
    assert types(found) == told
    if not told:
        assert codes(found) == {"not_used"}


def test_a_complete_visit_was_seen_and_one_to_come_is_none_of_ours() -> None:
    by = profile(tables=CATALOGUE)
    outpatient = pv1(f2="O", f7="d-1")
    done = sch(f8="MZ", f25="Complete", f11="^^^20261120083000")
    told = read(outpatient, trigger="S14", by=by, of=done)
    (seen,) = told.events
    assert isinstance(seen, VisitCompleted)
    assert (seen.visit_id, seen.visit_class) == ("V1", VisitClass.AMBULATORY)
    assert seen.occurred_at == datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
    for segments, status in (
        ((outpatient,), "Booked"),
        ((), "Complete"),
        ((pv1(f19=""),), "Complete"),
    ):
        found = read(*segments, trigger="S14", by=by, of=sch(f8="MZ", f25=status))
        assert types(found) == [] and codes(found) == {"not_used"}


@pytest.mark.parametrize(
    ("trigger", "status", "reason"),
    [
        ("S14", "Noshow", "no_show"),
        ("S15", "", None),
        ("S15", "Complete", None),
        ("S17", "", "entered_in_error"),
        ("S26", "", "no_show"),
    ],
)
def test_an_appointment_for_a_visit_that_is_off_takes_the_visit_back(
    trigger: str, status: str, reason: str | None
) -> None:
    by, of = profile(tables=CATALOGUE), sch(f8="MZ", f25=status)
    (told,) = read(pv1(f2="O"), trigger=trigger, by=by, of=of).events
    assert told == VisitCancelled(
        visit_id="V1",
        patient_id="100",
        visit_class=VisitClass.AMBULATORY,
        cancelled_at=SENT,
        reason=reason,
    )
    for segments in ((), (pv1(f2="O", f19=""),)):
        found = read(*segments, trigger=trigger, by=by, of=of)
        assert types(found) == [] and codes(found) == {"not_used"}


@pytest.mark.parametrize(
    ("segments", "of_sch", "begin", "end"),
    [
        ([ais(f4="")], {}, None, None),
        ([ais(f4=""), "TQ1|1||||||20261123083000|20261123093000"], {}, 0.5, 1.5),
        ([ais(f4="")], {"f11": "^^^20261123083000"}, 0.5, None),
        ([ais(f7="1", f8="H")], {}, 0.5, 1.5),
        ([ais(f7="30")], {}, 0.5, 1.0),
        ([ais(f7="30", f8="s")], {}, 0.5, None),
        ([ais(f7="many")], {}, 0.5, None),
    ],
)
def test_the_time_is_the_services_own_else_the_appointments(
    segments: list[str], of_sch: dict[str, str], begin: float | None, end: float | None
) -> None:
    (found,) = read(*segments, of=sch(**of_sch)).events
    assert isinstance(found, ExamScheduled)
    day = datetime(2026, 11, 23, tzinfo=UTC)
    told = [t and (t - day).total_seconds() / 3_600 for t in (found.starts_at, found.ends_at)]
    assert told == [begin, end]


def test_an_appointment_says_which_one_it_is_by_both_numbers() -> None:
    found = read(ais(), of=sch(f26="P1^HIS")).booking
    assert found == Booking(placer="A1", filler="B1")
    assert read(ais(), of=sch(f2="", f26="P1^HIS")).booking == Booking(placer="A1")
