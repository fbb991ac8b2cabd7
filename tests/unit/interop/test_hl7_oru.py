"""What do results' messages tell, group by group and line by line?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs.common.events import (
    Event,
    Interpretation,
    ReferenceRange,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
)
from services.interop.edge.hl7.mapping import Mapped
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import codes, mapped, pid, profile, pv1, refusal, segment


def obr(**fields: str) -> str:
    usual = {"f3": "L1", "f4": "24323-8^生化全套^LN", "f22": "20261119113000", "f24": "CH"}
    return segment("OBR", **{**usual, "f25": "F", **fields})


def obx(value: str = "5.2", **fields: str) -> str:
    return segment("OBX", **{"f2": "NM", "f3": "2345-7^葡萄糖^LN", "f5": value, **fields})


def read(*segments: str, by: Profile | None = None) -> Mapped:
    return mapped("ORU^R01", pid(), *segments, by=by)


def report(*segments: str, by: Profile | None = None) -> ReportReady | ReportCorrected:
    (event,) = read(*segments, by=by).events
    assert isinstance(event, ReportReady | ReportCorrected)
    return event


def test_a_report_says_what_was_found_in_whom_by_whose_order() -> None:
    found = report(
        pv1(f3="NEURO", f19="V1"),
        segment("ORC", f1="RE", f12="d-9"),
        obr(f7="20261119073000"),
        obx("5.20", f6="mmol/L", f7="3.9-6.1", f8="N", f11="F"),
    )
    assert (found.report_id, found.patient_id) == ("L1:24323-8", "100")
    assert (found.code, found.title) == ("24323-8", "生化全套")
    assert (found.kind, found.status) == (ReportKind.LABORATORY, ReportStatus.FINAL)
    assert (found.ordering_practitioner_id, found.department_code) == ("d-9", "NEURO")
    assert found.encounter_id == "V1"
    assert found.effective_at == datetime(2026, 11, 18, 23, 30, tzinfo=UTC)
    assert found.issued_at == datetime(2026, 11, 19, 3, 30, tzinfo=UTC)
    (line,) = found.observations
    assert (line.code, line.display, line.value, line.unit) == ("2345-7", "葡萄糖", 5.2, "mmol/L")
    assert line.reference_range == ReferenceRange(low=3.9, high=6.1)
    assert line.interpretation is Interpretation.NORMAL


F, P, C, X = ReportStatus.FINAL, ReportStatus.PRELIMINARY, ReportStatus.CORRECTED, "withdrawn"
PART, NONE, MODIFIED = ReportStatus.PARTIAL, "nothing", ReportStatus.MODIFIED

#: OBR-25, OBX-11 of the lines: what comes of it.
STATUSES = [
    ("F", "FF", F),
    ("F", "", F),
    ("F", "FP", PART),
    ("F", "PI", P),
    ("F", "FC", C),
    ("F", "FX", F),
    ("F", "WW", X),
    ("F", "FD", C),
    ("F", "FPD", PART),
    ("F", "PD", P),
    ("P", "FF", P),
    ("P", "PP", P),
    ("A", "FP", PART),
    ("R", "R", P),
    ("P", "WW", X),
    ("P", "FW", P),
    ("C", "CF", C),
    ("C", "FF", C),
    ("C", "", C),
    ("C", "CP", PART),
    ("C", "PI", P),
    ("C", "CW", C),
    ("C", "DW", X),
    ("M", "C", MODIFIED),
    ("M", "CP", MODIFIED),
    ("M", "W", X),
    ("O", "W", NONE),
    ("X", "X", X),
    ("X", "", X),
    ("", "FF", F),
    ("", "PF", PART),
    ("", "P", P),
    ("", "C", C),
    ("", "W", X),
    ("O", "", NONE),
    ("S", "", NONE),
    ("I", "", NONE),
]


@pytest.mark.parametrize(("whole", "lines", "expected"), STATUSES)
def test_the_stricter_of_the_reports_status_and_its_lines_holds(
    whole: str, lines: str, expected: object
) -> None:
    found = read(obr(f25=whole), *(obx(f11=status) for status in lines))
    outcome: object = "nothing"
    for event in found.events:
        outcome = "withdrawn"
        if not isinstance(event, ReportWithdrawn):
            outcome = event.status  # type: ignore[attr-defined]
            corrected = event.status in (C, MODIFIED)  # type: ignore[attr-defined]
            assert isinstance(event, ReportCorrected if corrected else ReportReady)
    assert outcome == expected


def test_a_line_without_a_status_stands_beside_one_that_was_taken_back() -> None:
    found = report(obr(), obx("1", f3="a"), obx("2", f3="b", f11="W"))
    assert found.status is C and [o.code for o in found.observations] == ["a"]


def test_an_amended_report_is_held_to_its_lines_and_stays_amended() -> None:
    by = profile(tables={"result_status": {"codes": {"AM": "amended"}}})
    assert report(obr(f25="AM"), obx(f11="C"), by=by).status is ReportStatus.AMENDED
    assert report(obr(f25="AM"), obx(f11="C"), obx(f11="P"), by=by).status is PART


def test_a_report_without_any_status_is_refused() -> None:
    assert refusal("ORU^R01", pid(), obr(f25=""), obx()) == ("OBR", 25, 101)
    assert refusal("ORU^R01", pid(), obr(f25="?"), obx()) == ("OBR", 25, 103)
    assert refusal("ORU^R01", pid(), obr(), obx(f11="?")) == ("OBX", 11, 103)


def test_each_group_is_a_report_and_none_takes_anothers_number() -> None:
    found = read(obr(), obx(), obr(f4="58410-2^血常规^LN"), obx(), obr(f3="L1^IMM"), obx())
    ids = [event.report_id for event in found.events]  # type: ignore[attr-defined]
    assert ids == ["L1:24323-8", "L1:58410-2", "L1@IMM:24323-8"]
    pairs = (("a:b", "c"), ("a", "b:c"), ("a\\R\\3ab", "c"), ("a@b", "c"), ("a^b", "c"))
    joined = read(*(one for order, code in pairs for one in (obr(f3=order, f4=code), obx())))
    assert len({event.report_id for event in joined.events}) == len(pairs)  # type: ignore[attr-defined]


def test_two_reports_that_nothing_tells_apart_are_refused() -> None:
    assert refusal("ORU^R01", pid(), obr(), obx(), obr(), obx()) == ("OBR", 3, 102)
    without = obr(f2="P1", f3="")
    assert refusal("ORU^R01", pid(), without, obx(), without, obx()) == ("OBR", 2, 102)
    assert len(read(obr(f25="O"), obr(f25="O"), obr(), obx()).events) == 1


def test_a_specimen_tells_reports_apart_where_the_profile_says_so() -> None:
    by = profile(reports={"id_with_specimen": True})
    two = (obr(), obx(), "SPM|1|S1", obr(), obx(), "SPM|1|P9^S2&LAB")
    ids = [event.report_id for event in read(*two, by=by).events]  # type: ignore[attr-defined]
    assert ids == ["L1:24323-8:S1", "L1:24323-8:S2"]
    assert refusal("ORU^R01", pid(), *two) == ("OBR", 3, 102)


def test_without_the_fillers_number_the_placers_names_the_report() -> None:
    found = read(obr(f2="P1", f3=""), obx())
    assert found.events[0].report_id == "P1:24323-8"  # type: ignore[attr-defined]
    assert codes(found) == {"placer_number"}
    assert refusal("ORU^R01", pid(), obr(f3=""), obx()) == ("OBR", 3, 101)


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("NM", "140", 140),
        ("NM", "5.6", 5.6),
        ("NM", "<0.5", "<0.5"),
        ("NM", "60~120", "60\n120"),
        ("NM", "", None),
        ("NM", '""', None),
        ("SN", ">^100", ">100"),
        ("SN", "^1^:^128", "1:128"),
        ("CWE", "260415000^not detected^SCT^^^^^^未检出", "not detected"),
        ("CE", "阳性", "阳性"),
        ("ST", "a^b", "a^b"),
        ("TX", "1\\.br\\2", "1\n2"),
        ("DT", "20261119", "20261119"),
        ("", "as it stands", "as it stands"),
    ],
)
def test_values_are_read_by_their_type(kind: str, written: str, meant: object) -> None:
    assert report(obr(), obx(written, f2=kind, f11="F")).observations[0].value == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("3.9-6.1", ReferenceRange(low=3.9, high=6.1)),
        ("13 to 18", ReferenceRange(low=13, high=18)),
        ("-2--1", ReferenceRange(low=-2, high=-1)),
        ("3.9～6.1", ReferenceRange(text="3.9～6.1")),
        ("<5", ReferenceRange(text="<5")),
        ("阴性", ReferenceRange(text="阴性")),
        ("", None),
    ],
)
def test_a_range_is_two_bounds_or_words(written: str, meant: ReferenceRange | None) -> None:
    assert report(obr(), obx(f7=written)).observations[0].reference_range == meant


def test_the_gravest_of_several_interpretations_is_told() -> None:
    assert report(obr(), obx(f8="H~HH")).observations[0].interpretation == "HH"
    assert codes(read(obr(), obx(f8="??"))) == {"unknown_code"}


def test_a_sites_own_sign_of_danger_makes_the_report_critical() -> None:
    by = profile(reports={"critical_flags": ["危"]})
    found = report(obr(), obx(f8="危"), by=by)
    assert found.critical and found.observations[0].interpretation is None


@pytest.mark.parametrize(
    "lines",
    [
        [obx("30.1", f8="HH", f11="F")],
        [obx("Acute hemorrhage", f2="TX", f8="AA", f11="F")],
        [obx("一", f2="TX", f11="F"), obx("二", f2="TX", f8="AA", f11="F")],
        [obx("^application^pdf^Base64^AAAA", f2="ED", f8="AA", f11="F")],
        [obx("http://pacs", f2="RP", f8="LL", f11="F")],
        [obx("长" * 3_000, f2="ST", f8="AA", f11="F")],
        [obx(f3="c"), *[obx("1") for _ in range(300)], obx("9", f3="last", f8="HH", f11="F")],
    ],
)
@pytest.mark.parametrize("section", ["CH", "CT"])
def test_a_grave_interpretation_makes_the_report_critical_wherever_its_line_goes(
    lines: list[str], section: str
) -> None:
    assert report(obr(f24=section), *lines).critical


def test_what_is_not_grave_or_was_taken_back_makes_no_report_critical() -> None:
    for flag, status in (("H", "F"), ("A", "F"), ("HH", "D"), ("AA", "W")):
        assert not report(obr(), obx(f3="a", f11="F"), obx(f8=flag, f11=status)).critical


def test_a_text_is_interpreted_by_the_gravest_of_its_lines() -> None:
    lines = [obx(t, f2="TX", f8=flag) for t, flag in (("一", ""), ("二", "N"), ("三", "AA"))]
    (line,) = report(obr(), *lines, obx("四", f2="TX", f8="H")).observations
    assert (line.value, line.interpretation) == ("一\n二\n三\n四", "AA")


def test_what_was_taken_back_is_no_line_and_what_is_missing_has_no_value() -> None:
    found = report(obr(), obx("1", f3="a", f11="F"), obx("2", f3="b", f11="D"), obx("3", f11="X"))
    assert [(o.code, o.value) for o in found.observations] == [("a", 1), ("2345-7", None)]


def test_texts_of_an_image_are_its_finding_and_lines_of_one_text_are_joined() -> None:
    seen = [obx(t, f2="TX", f3="GDT^影像所见", f11="F") for t in ("一", "二")]
    opinion = obx("三", f2="FT", f3="IMP^诊断意见", f11="F")
    found = report(obr(f24="CT"), *seen, opinion, "NTE|1||请结合临床")
    assert found.kind is ReportKind.IMAGING and found.observations == ()
    assert found.conclusion == "影像所见：一\n二\n诊断意见：三\n请结合临床"
    in_lab = report(obr(), *seen)
    suffixed = obx("四", f2="TX", f3="24627-2&IMP^^LN")
    by = profile(reports={"conclusion_codes": ["IMP"]})
    assert report(obr(), suffixed, by=by).conclusion == "24627-2：四"
    assert [o.value for o in in_lab.observations] == ["一\n二"]


def test_a_text_too_long_for_a_line_goes_to_the_finding_and_is_cut_visibly() -> None:
    found = read(obr(), obx("长" * 9_000, f2="ST", f11="F"))
    event: Event = found.events[0]
    assert event.observations == ()  # type: ignore[attr-defined]
    assert len(event.conclusion) == 8_000 and event.conclusion.endswith("…")  # type: ignore[attr-defined]
    assert codes(found) == {"shortened"}


def test_what_is_said_of_the_specimen_is_no_result() -> None:
    found = report(obr(), obx(f3="a"), "SPM|1", obx(f3="b"))
    assert [o.code for o in found.observations] == ["a"]
    only = report(obr(), "SPM|1", obx(f3="b"))
    assert [o.code for o in only.observations] == ["b"], "where else should its results be?"


def test_the_kind_has_a_default_that_is_seen() -> None:
    found = read(obr(f24=""), obx())
    assert found.events[0].kind is ReportKind.OTHER  # type: ignore[attr-defined]
    assert codes(found) == {"defaulted"}
    by = profile(defaults={"report_kind": None})
    assert refusal("ORU^R01", pid(), obr(f24=""), obx(), by=by) == ("OBR", 24, 101)


def test_results_of_two_patients_or_of_nothing_are_refused() -> None:
    assert refusal("ORU^R01", pid(), obr(), pid(), obr()) == ("PID", 0, 100)
    assert refusal("ORU^R01", pid()) == ("OBR", 0, 100)
    assert refusal("ORU^R01", obr()) == ("PID", 0, 100)


def test_a_report_larger_than_an_event_may_be_is_refused() -> None:
    lines = [obx("长" * 1_900, f2="ST", f3=f"c{n}", f11="F") for n in range(20)]
    assert refusal("ORU^R01", pid(), obr(), *lines) == ("OBR", 0, 102)
