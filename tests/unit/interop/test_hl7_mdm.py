"""When is a document a report, and what becomes of it?"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import pytest

from libs.common.events import (
    Event,
    Hold,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
)
from services.interop.edge.hl7.mapping import Mapped
from tests.unit.interop.hl7_given import codes, mapped, pid, profile, pv1, refusal, segment

READY, CORRECTED, WITHDRAWN = [ReportReady], [ReportCorrected], [ReportWithdrawn]


def txa(**fields: str) -> str:
    usual = {"f2": "DS", "f6": "20261120095000", "f12": "D1^EMR", "f17": "AU"}
    return segment("TXA", **{**usual, **fields})


def obx(text: str = "神志清楚", **fields: str) -> str:
    return segment("OBX", **{"f2": "TX", "f3": "CYQK^出院情况", "f5": text, "f11": "F", **fields})


def read(*segments: str, trigger: str = "T02") -> Mapped:
    return mapped(f"MDM^{trigger}", pid(), pv1(), *segments)


def types(found: Mapped) -> list[type[Event]]:
    return [type(e) for e in found.events]


def test_a_document_is_a_report_with_its_text_and_its_file() -> None:
    pdf = f"^AP^PDF^Base64^{b64encode(b'%PDF').decode()}"
    found = read(
        txa(f4="20261120093000", f9="d-9"), obx(), obx("可出院"), obx(pdf, f2="ED", f3="PDF^小结")
    )
    (report,) = found.events
    assert isinstance(report, ReportReady)
    assert (report.report_id, report.kind, report.code) == (
        "document:D1@EMR",
        ReportKind.OTHER,
        "DS",
    )
    assert (report.title, report.status) == ("出院小结", ReportStatus.FINAL)
    assert report.conclusion == "出院情况：神志清楚\n可出院" and report.observations == ()
    assert [d.title for d in report.documents] == ["小结"]
    assert (report.ordering_practitioner_id, report.encounter_id) == ("d-9", "V1")
    assert report.department_code == found.documents[0].department_code == "NEURO"
    assert report.issued_at == datetime(2026, 11, 20, 1, 50, tzinfo=UTC)
    assert report.effective_at == datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    assert report.hold == Hold()


@pytest.mark.parametrize(
    ("trigger", "fields", "told"),
    [
        ("T02", {"f17": "AU"}, READY),
        ("T02", {"f17": "LA", "f19": "AV"}, READY),
        ("T02", {"f17": "PA"}, READY),
        ("T02", {"f17": "DI"}, []),
        ("T02", {"f17": "IP"}, []),
        ("T02", {"f19": "UN"}, []),
        ("T02", {"f19": "CA"}, WITHDRAWN),
        ("T04", {"f17": "LA"}, READY),
        ("T04", {"f19": "OB"}, WITHDRAWN),
        ("T06", {"f13": "D0^EMR"}, READY),
        ("T08", {}, CORRECTED),
        ("T08", {"f17": "PA"}, READY),
        ("T10", {"f13": "D0^EMR"}, [ReportWithdrawn, ReportCorrected]),
        ("T10", {"f13": "D1^EMR"}, CORRECTED),
        ("T10", {}, CORRECTED),
        ("T11", {}, WITHDRAWN),
        ("T01", {}, []),
        ("T03", {}, []),
        ("T03", {"f19": "CA"}, WITHDRAWN),
        ("T09", {"f13": "D0^EMR"}, []),
    ],
)
def test_what_becomes_of_a_document_is_said_by_trigger_completion_and_availability(
    trigger: str, fields: dict[str, str], told: list[type[Event]]
) -> None:
    assert types(read(txa(**fields), obx(), trigger=trigger)) == told


def test_a_document_is_no_final_report_before_every_line_is_final() -> None:
    (report,) = read(txa(), obx(), obx(f3="b", f11="P")).events
    assert isinstance(report, ReportReady) and report.status is ReportStatus.PARTIAL


def test_a_changed_document_is_dated_by_its_change() -> None:
    (first,) = read(txa(), obx()).events
    (signed,) = read(txa(f17="LA"), obx(), trigger="T04").events
    (edited,) = read(txa(f8="20261120100000"), obx(), trigger="T08").events
    times = [e.issued_at for e in (first, edited, signed)]  # type: ignore[attr-defined]
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("DI", ReportKind.IMAGING),
        ("SP", ReportKind.PATHOLOGY),
        ("XX", ReportKind.OTHER),
        ("PC", None),
    ],
)
def test_kinds_of_documents_are_read_by_table(type: str, told: ReportKind | None) -> None:
    found = read(txa(f2=type), obx())
    assert [e.kind for e in found.events] == ([told] if told else [])  # type: ignore[attr-defined]


def test_a_restricted_document_is_held_until_somebody_releases_it() -> None:
    (report,) = read(txa(f18="V"), obx()).events
    assert isinstance(report, ReportReady) and report.hold == Hold(on=True, reason="confidential")


def test_the_title_is_the_documents_own_else_the_orders_else_its_kinds() -> None:
    obr = segment("OBR", f4="18842-5^Discharge summary^LN")
    found = [
        read(*segments, obx()).events[0].title  # type: ignore[attr-defined]
        for segments in (
            (obr, txa(f25="心内科出院小结")),
            (obr, txa()),
            (txa(),),
            (txa(f2="ZZ^护理记录"),),
            (txa(f2="ZZ"),),
        )
    ]
    assert found == ["心内科出院小结", "Discharge summary", "出院小结", "护理记录", "ZZ"]


def test_a_document_with_nothing_to_read_is_told_to_nobody() -> None:
    found = read(txa(), obx("^application^pdf^Base64^", f2="ED"))
    assert types(found) == [] and codes(found) == {"document_left_out", "not_used"}


@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ((obx(),), ("TXA", 0, 100)),
        ((txa(), obx(), txa(f12="D2"), obx()), ("TXA", 0, 100)),
        ((txa(f12=""), obx()), ("TXA", 12, 101)),
        ((txa(f2=""), obx()), ("TXA", 2, 101)),
        ((txa(f17=""), obx()), ("TXA", 17, 101)),
        ((txa(f17="QQ"), obx()), ("TXA", 17, 103)),
    ],
)
def test_what_a_document_needs_is_refused_at_its_place(
    segments: tuple[str, ...], place: tuple[str, int, int]
) -> None:
    assert refusal("MDM^T02", pid(), pv1(), *segments) == place


def test_an_unknown_type_can_be_refused() -> None:
    by = profile(tables={"document_kind": {"unknown": "refuse"}})
    assert refusal("MDM^T02", pid(), txa(f2="ZZ"), obx(), by=by) == ("TXA", 2, 103)
