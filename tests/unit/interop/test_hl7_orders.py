"""Which orders are examinations to come, and what becomes of them?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs.common.events import (
    Event,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
)
from services.interop.edge.hl7.mapping import Mapped
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import codes, mapped, pid, profile, pv1, refusal, segment

SCHEDULED, CHANGED, CANCELLED = [ExamScheduled], [ExamRescheduled], [ExamCancelled]


def orc(control: str = "NW", **fields: str) -> str:
    return segment("ORC", f1=control, **{"f2": "P1^HIS", "f9": "20261120100000", **fields})


def obr(**fields: str) -> str:
    return segment("OBR", **{"f4": "24627-2^胸部CT^LN", "f24": "CT", **fields})


def read(*segments: str, by: Profile | None = None, kind: str = "ORM^O01") -> Mapped:
    return mapped(kind, pid(), *segments, by=by)


def test_an_order_says_what_is_examined_when_by_whose_wish() -> None:
    (found,) = read(pv1(), orc(f12="d-9"), obr(f36="20261123083000")).events
    assert found == ExamScheduled(
        exam_id="P1@HIS",
        patient_id="100",
        kind=ReportKind.IMAGING,
        code="24627-2",
        title="胸部CT",
        starts_at=datetime(2026, 11, 23, 0, 30, tzinfo=UTC),
        ordering_practitioner_id="d-9",
        encounter_id="V1",
        scheduled_at=datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("control", "status", "told"),
    [
        ("NW", "", SCHEDULED),
        ("NW", "CA", SCHEDULED),  # ORC-5 counts only where ORC-1 says so
        ("SN", "", SCHEDULED),
        ("OK", "", SCHEDULED),
        ("XO", "", CHANGED),
        ("CA", "", CANCELLED),
        ("OC", "", CANCELLED),
        ("DC", "", CANCELLED),
        ("SC", "SC", CHANGED),
        ("SC", "CA", CANCELLED),
        ("SC", "CM", []),
        ("SC", "", []),
        ("SC", "own", []),
        ("HD", "", []),
        ("RE", "", []),
    ],
)
def test_what_becomes_of_an_order_is_said_by_its_control_and_where_that_says_so_by_its_status(
    control: str, status: str, told: list[type[Event]]
) -> None:
    assert [type(e) for e in read(orc(control, f5=status), obr()).events] == told


def test_an_unknown_control_is_refused_and_a_site_can_have_its_own() -> None:
    assert refusal("ORM^O01", pid(), orc("QX"), obr()) == ("ORC", 1, 103)
    by = profile(tables={"exam_control": {"codes": {"QX": "cancelled"}}})
    assert [type(e) for e in read(orc("QX"), obr(), by=by).events] == CANCELLED


@pytest.mark.parametrize("kind", ["ORM^O01", "OMG^O19", "OMI^O23", "OML^O21"])
def test_all_kinds_of_orders_are_read_alike(kind: str) -> None:
    assert [type(e) for e in read(orc(), obr(), "SPM|1", kind=kind).events] == SCHEDULED


@pytest.mark.parametrize(
    ("section", "kind", "notes"),
    [
        ("CT", ReportKind.IMAGING, set()),
        ("RUS", ReportKind.ULTRASOUND, set()),
        ("EC", ReportKind.FUNCTION_TEST, set()),
        ("CH", ReportKind.LABORATORY, set()),
        ("SP", None, {"not_used"}),
        ("NRS", None, {"not_used"}),
        ("", ReportKind.OTHER, {"defaulted"}),
        ("NEW", ReportKind.OTHER, {"unknown_code"}),
    ],
)
def test_what_a_patient_comes_for_is_an_examination_by_its_section(
    section: str, kind: ReportKind | None, notes: set[str]
) -> None:
    found = read(orc(), obr(f24=section))
    assert [e.kind for e in found.events] == ([kind] if kind else [])  # type: ignore[attr-defined]
    assert codes(found) == notes


def test_a_sites_catalogue_goes_before_the_section() -> None:
    catalogue = {"WJ": {"kind": "endoscopy", "title": "胃镜检查"}, "99HIS|HL": {"kind": None}}
    by = profile(tables={"exam": {"codes": catalogue}})
    (found,) = read(orc(), obr(f4="WJ^胃镜^99HIS"), by=by).events
    assert isinstance(found, ExamScheduled)
    assert (found.kind, found.title) == (ReportKind.ENDOSCOPY, "胃镜检查")
    assert read(orc(), obr(f4="HL^护理^99HIS"), by=by).events == ()
    assert len(read(orc(), obr(f4="HL^护理^OTHER"), by=by).events) == 1


@pytest.mark.parametrize(
    ("segments", "hours"),
    [
        ([orc(), obr()], None),
        ([orc(), obr(f36="20261123083000")], (0.5, None)),
        ([orc(), "TQ1|1||||||20261123083000|20261123093000", obr()], (0.5, 1.5)),
        ([orc(), obr(), "TQ1|1||||||20261123083000|20261123083000"], (0.5, None)),
        ([orc(), obr(f27="1^^^20261123083000")], (0.5, None)),
        ([orc(), obr(f36="20261123093000"), "TQ1|1||||||20261123083000"], (1.5, None)),
    ],
)
def test_a_time_may_stand_in_several_places_or_nowhere(
    segments: list[str], hours: tuple[float, float | None] | None
) -> None:
    (found,) = read(*segments).events
    assert isinstance(found, ExamScheduled)
    day = datetime(2026, 11, 23, tzinfo=UTC)
    told = [t and (t - day).total_seconds() / 3_600 for t in (found.starts_at, found.ends_at)]
    assert told == list(hours or (None, None))


@pytest.mark.parametrize(
    ("segments", "id"),
    [
        ([orc(), obr()], "P1@HIS"),
        ([orc(f3="F1"), obr()], "P1@HIS"),
        ([orc(f2="", f3="F1"), obr()], "F1"),
        ([orc(), obr(f2="P2")], "P2"),
        ([orc(f2=""), obr(f3="F2^RIS")], "F2@RIS"),
    ],
)
def test_an_examination_is_known_by_its_order_the_placers_number_first(
    segments: list[str], id: str
) -> None:
    assert [e.exam_id for e in read(*segments).events] == [id]  # type: ignore[attr-defined]


def test_two_under_one_number_are_told_apart_by_their_codes_where_the_profile_says_so() -> None:
    two = (orc(), obr(), obr(f4="24590-2^头MR^LN"))
    assert refusal("ORM^O01", pid(), *two) == ("ORC", 2, 102)
    by = profile(exams={"number_is_enough": False})
    ids = [e.exam_id for e in read(*two, by=by).events]  # type: ignore[attr-defined]
    assert ids == ["P1@HIS:24627-2", "P1@HIS:24590-2"]


def test_without_a_number_an_examination_is_refused() -> None:
    assert refusal("ORM^O01", pid(), orc(f2=""), obr()) == ("ORC", 2, 101)
    assert refusal("ORM^O01", pid(), obr()) == ("ORC", 0, 100)


def test_a_cancellation_may_name_nothing_but_the_order() -> None:
    assert [type(e) for e in read(orc("CA")).events] == CANCELLED
    assert read(orc("CA"), "RXO|1").events == (), "that of a medicine"
    assert codes(read(orc("NW"))) == {"not_used"}


def test_a_replaced_order_is_cancelled_and_its_replacement_goes_on() -> None:
    found = read(orc("RP"), obr(), orc("RO", f2="P2^HIS"), obr())
    told = [(type(e), e.exam_id) for e in found.events]  # type: ignore[attr-defined]
    assert told == [(ExamCancelled, "P1@HIS"), (ExamScheduled, "P2@HIS")]


def test_a_filler_that_replaces_an_order_under_its_own_number_does_not_cancel_it() -> None:
    (found,) = read(orc("RU"), obr(), orc("RO"), obr(f4="36643-5^胸部X线^LN")).events
    assert isinstance(found, ExamScheduled)
    assert (found.exam_id, found.code) == ("P1@HIS", "36643-5")
