"""What becomes of a document that is embedded in a message?"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest

from libs.common.decision import Actor
from libs.common.events import ReportReady
from services.interop.domain.document import DocumentOf, document_id, may_read
from services.interop.domain.receipt import Received
from services.interop.edge.hl7.receive import MOST_BESIDES, Senders
from tests.unit.interop.hl7_given import (
    NOW,
    adult_age,
    codes,
    mapped,
    pid,
    profile,
    pv1,
    raw,
    segment,
)

PDF = b"%PDF-1.7 sample"
AT = "https://interop.example.org/v1/documents"


def obr() -> str:
    return segment(
        "OBR", f3="L1", f4="24627-2^CT^LN", f16="d-9", f22="20261119113000", f24="CT", f25="F"
    )


def ed(text: str, kind: str = "application", subtype: str = "pdf", encoding: str = "Base64") -> str:
    value = f"^{kind}^{subtype}^{encoding}^{text}"
    return segment("OBX", f2="ED", f3="PDF^报告", f5=value, f11="F")


def received(message: bytes) -> Received:
    return Senders([], profile(), ZoneInfo("Asia/Shanghai"), adult_age, AT).received(message, NOW)


def test_a_report_names_its_document_and_holds_none() -> None:
    found = received(raw("ORU^R01", pid(), pv1(), obr(), ed(b64encode(PDF).decode())))
    (report,) = found.events
    assert isinstance(report, ReportReady)
    digest, id = sha256(PDF).hexdigest(), document_id("100", sha256(PDF).hexdigest())
    (ref,) = report.documents
    assert (ref.document_id, ref.sha256, ref.size) == (id, digest, len(PDF))
    assert (ref.content_type, ref.title, ref.url) == ("application/pdf", "报告", f"{AT}/{id}")
    assert found.blobs == {digest: PDF}
    assert found.documents == (
        DocumentOf(
            id=id,
            patient_id="100",
            content_type="application/pdf",
            title="报告",
            size=len(PDF),
            sha256=digest,
            department_code="NEURO",
            ordering_practitioner_id="d-9",
        ),
    )
    assert not found.cuts


def test_a_large_document_is_cut_out_before_the_message_is_read_and_gives_the_same() -> None:
    scan = PDF * 100_000
    message = raw("ORU^R01", pid(), pv1(), obr(), ed(b64encode(scan).decode()))
    found = received(message)
    (report,) = found.events
    assert isinstance(report, ReportReady) and report.documents[0].size == len(scan)
    assert len(found.raw) < 1_000 and found.blobs == {sha256(scan).hexdigest(): scan}
    assert (
        found.receipt_id
        == Received(sender="HIS|LX", control_id="1", type="", raw=message).receipt_id
    )


def test_what_is_left_of_a_message_has_a_limit_and_is_kept_when_it_is_refused() -> None:
    message = raw("ORU^R01", pid(), obr(), segment("OBX", f5="长 " * (MOST_BESIDES // 4)))
    found = received(message)
    assert [(f.segment, f.code) for f in found.faults] == [("MSH", "102")]
    assert list(found.blobs.values()) == [message]


def test_a_test_message_stores_no_document() -> None:
    text = b64encode(PDF)
    message = raw("ORU^R01", pid(), obr(), ed(text.decode())).replace(b"|P|2.5", b"|T|2.5")
    assert not received(message).blobs


@pytest.mark.parametrize(
    ("text", "kind", "subtype", "encoding", "told"),
    [
        (b64encode(PDF).decode(), "AP", "PDF", "Base64", "application/pdf"),
        (b64encode(PDF).decode(), "IM", "JPEG", "base64", "image/jpeg"),
        (b64encode(PDF).decode(), "", "PDF", "Base64", "application/pdf"),
        (b64encode(PDF).decode(), "application/pdf", "", "", "application/pdf"),
        (b64encode(PDF).decode(), "", "", "Base64", "application/octet-stream"),
        (b64encode(PDF).decode(), "样例", "样例", "Base64", "application/octet-stream"),
        (b64encode(PDF).decode().rstrip("="), "AP", "PDF", "Base64", "application/pdf"),
        (
            b64encode(PDF).decode()[:8] + "\\.br\\" + b64encode(PDF).decode()[8:],
            "AP",
            "PDF",
            "",
            "application/pdf",
        ),
        (PDF.hex(), "AP", "PDF", "Hex", "application/pdf"),
        (PDF.decode(), "TX", "plain", "A", "text/plain"),
    ],
)
def test_a_document_is_read_as_senders_write_it(
    text: str, kind: str, subtype: str, encoding: str, told: str
) -> None:
    found = mapped("ORU^R01", pid(), obr(), ed(text, kind, subtype, encoding))
    assert list(found.contents.values()) == [PDF]
    assert found.documents[0].content_type == told


@pytest.mark.parametrize(
    "line", [ed(""), ed("A"), ed("样例"), ed("xyz", encoding="Hex"), ed("x", encoding="zip")]
)
def test_what_is_no_document_is_noted_and_the_report_told(line: str) -> None:
    found = mapped("ORU^R01", pid(), obr(), line)
    (report,) = found.events
    assert isinstance(report, ReportReady) and not report.documents and not found.contents
    assert codes(found) == {"document_left_out"}


def test_more_documents_than_an_event_holds_are_noted() -> None:
    lines = [ed(b64encode(PDF + bytes([n])).decode()) for n in range(18)]
    found = mapped("ORU^R01", pid(), obr(), *lines)
    assert len(found.documents) == 16 and len(found.notes) == 2


def test_base64_that_calls_itself_a_text_is_shown_to_nobody() -> None:
    text = b64encode(PDF * 10_000).decode()
    found = received(
        raw("ORU^R01", pid(), obr(), segment("OBX", f2="TX", f3="a", f5=text, f11="F"))
    )
    (report,) = found.events
    assert isinstance(report, ReportReady) and (report.observations, report.conclusion) == (
        (),
        None,
    )
    assert found.notes[0].startswith("document_left_out OBX-5")


def test_the_same_content_of_two_patients_is_two_documents() -> None:
    assert document_id("1", "a" * 64) != document_id("2", "a" * 64)


@pytest.mark.parametrize(
    ("role", "person", "department", "may"),
    [
        ("ops", "o", "", True),
        ("integration", "i", "", False),
        ("doctor", "d-9", "", True),
        ("doctor", "d-1", "NEURO", True),
        ("nurse", "n-1", "NEURO", True),
        ("nurse", "n-1", "CARDIO", False),
        ("doctor", "d-1", "", False),
        ("pharmacist", "d-9", "NEURO", False),
        ("patient", "100", "NEURO", False),
    ],
)
def test_who_may_read_a_document(role: str, person: str, department: str, may: bool) -> None:
    found = DocumentOf(
        id="1",
        patient_id="100",
        content_type="application/pdf",
        size=1,
        sha256="a" * 64,
        department_code="NEURO",
        ordering_practitioner_id="d-9",
    )
    actor = Actor(person, frozenset({role}), frozenset({department} - {""}))
    assert may_read(found, actor, is_told_reports=False) is may
    assert may_read(found, actor, is_told_reports=True) is (may or role == "integration")
    nobodys = found.model_copy(update={"department_code": None, "ordering_practitioner_id": None})
    assert may_read(nobodys, actor, is_told_reports=True) is (role in ("ops", "integration"))
