"""What becomes of each message of our own corpus, by the sample sender's profile?"""

from __future__ import annotations

import pytest

from services.interop.edge.hl7.mapping import MAPPED, Mapped, map_message
from services.interop.edge.hl7.message import parse
from services.interop.edge.hl7.refused import ErrorCode, Refused
from tests.unit.interop.hl7_given import CORPUS, NOW, ZONE, adult_age, sample

DISCHARGED = ["EncounterDischarged", "VisitCompleted"]

#: File: patient, events, codes of the notes; or the refusal's code and place.
CASES: dict[str, tuple[str, list[str], set[str]] | tuple[int, str]] = {
    "adt-a01-admitted": ("100234", ["PatientUpdated", "EncounterAdmitted"], set()),
    "adt-a03-outpatient": ("100234", ["VisitCompleted"], set()),
    "adt-a03-adult": (
        "100234",
        [*DISCHARGED, "ProcedurePerformed", "ConditionRecorded", "ConditionRecorded"],
        {"no_guardian"},
    ),
    "adt-a03-child": (
        "100777",
        [*DISCHARGED, "ConditionRecorded"],
        {"guardian_id_derived", "no_guardian", "unknown_code"},
    ),
    "adt-a03-gb18030": ("100234", DISCHARGED, set()),
    "adt-a03-undeclared-gb-lf-bomless": ("100234", DISCHARGED, set()),
    "adt-a03-bom-crlf-z": ("100234", DISCHARGED, set()),
    "adt-a03-other-separators": ("100234", DISCHARGED, set()),
    "adt-a03-no-department": (101, "PV1-3"),
    "adt-a03-unknown-disposition": (103, "PV1-36"),
    "adt-a03-wrong-date": (102, "PID-7"),
    "adt-a08-null-phone": ("100234", ["PatientUpdated"], {"partial_date"}),
    "adt-a13-cancelled": ("100234", ["DischargeCancelled", "VisitCancelled"], set()),
    "adt-a28-child-with-mother": ("100777", ["PatientRegistered", "GuardianLinked"], set()),
    "adt-a40-merged": ("100234", ["PatientMerged"], set()),
    "adt-z99": (201, "MSH-9"),
    "oru-final": ("100234", ["ReportReady"], set()),
    "oru-corrected": ("100234", ["ReportCorrected"], set()),
    "oru-critical": ("100234", ["ReportReady"], set()),
    "oru-final-with-a-pending-line": ("100234", ["ReportReady"], {"not_all_final"}),
    "oru-line-feeds-in-text": ("100234", ["ReportReady"], {"oddity"}),
    "oru-several-and-escapes": (
        "100234",
        ["ReportReady", "ReportReady", "ReportWithdrawn"],
        {"no_number"},
    ),
    "oru-two-patients": (100, "PID-0"),
    "qry-a19": (200, "MSH-9"),
    "rde-o11-atc": ("100234", ["PrescriptionIssued", "PrescriptionIssued"], set()),
    "rde-o11-no-quantity": (101, "RXE-10"),
    "rde-o25-old-timing": (
        "100234",
        ["PrescriptionStopped", "PrescriptionIssued"],
        {"unknown_code"},
    ),
    "adt-a08-diagnoses-and-allergies": (
        "100234",
        ["PatientUpdated", *["ConditionRecorded"] * 2, *["AllergyRecorded"] * 2],
        {"no_allergy"},
    ),
    "adt-a11-cancelled": ("100234", ["AdmissionCancelled", "VisitCancelled"], set()),
    "adt-a60-allergies": ("100234", ["AllergyRecorded", "AllergyRecorded"], set()),
    "mdm-t02-in-progress": ("100234", [], {"not_used"}),
    "mdm-t02-summary": ("100234", ["ReportReady"], set()),
    "mdm-t10-replaced": ("100234", ["ReportWithdrawn", "ReportCorrected"], set()),
    "mdm-t11-cancelled": ("100234", ["ReportWithdrawn"], set()),
    "omg-o19-several": ("100234", ["ExamScheduled"], {"not_used"}),
    "oml-o21-fasting": ("100234", ["ExamScheduled"], set()),
    "orm-o01-cancelled": ("100234", ["ExamCancelled"], set()),
    "orm-o01-ct": ("100234", ["ExamScheduled"], set()),
    "siu-s12": ("100234", [], {"not_used"}),
    "siu-s12-gastroscopy": ("100234", ["ExamScheduled", "ExamScheduled"], set()),
    "siu-s12-ordered": ("100234", ["ExamScheduled"], set()),
    "siu-s13-moved": ("100234", ["ExamRescheduled"], set()),
    "siu-s14-visit-complete": ("100234", ["VisitCompleted"], set()),
    "siu-s15-gastroscopy-cancelled": ("100234", ["ExamCancelled"], {"services_not_named"}),
    "siu-s26-no-show": ("100234", ["ExamCancelled"], set()),
}


def read(name: str) -> Mapped:
    return map_message(parse((CORPUS / f"{name}.hl7").read_bytes()), sample(), ZONE, NOW, adult_age)


def test_every_message_of_the_corpus_has_its_line_in_the_table() -> None:
    assert {path.stem for path in CORPUS.glob("*.hl7")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_message_of_the_corpus_gives_what_the_table_says(name: str) -> None:
    expected = CASES[name]
    try:
        found = read(name)
    except Refused as refused:
        assert (int(refused.code), f"{refused.segment}-{refused.field}") == expected
        return
    events = [type(event).__name__ for event in found.events]
    assert (found.patient_id, events, {n.code for n in found.notes}) == expected


def test_discharges_in_any_character_set_line_end_and_separators_say_the_same() -> None:
    usual = read("adt-a03-undeclared-gb-lf-bomless")
    assert read("adt-a03-bom-crlf-z").events == usual.events
    assert usual.events[0].patient.name == "样例甲"  # type: ignore[attr-defined]
    assert read("adt-a03-gb18030").events[0].patient.name == "样㐂镕"  # type: ignore[attr-defined]


def test_a_message_read_again_gives_the_same() -> None:
    for name, expected in CASES.items():
        if len(expected) == 3:
            assert read(name) == read(name)


VARIANTS = ["", '""', "?", "-1", "0", "99999999999", "长" * 3_000, "a b/c|", "^^^", "20261399"]


@pytest.mark.parametrize("name", [n for n, e in CASES.items() if len(e) == 3])
def test_whatever_stands_in_one_field_is_read_or_refused_at_a_place(name: str) -> None:
    """Never an internal error: each of them would be a sender's message lost to our mistake."""
    lines = (CORPUS / f"{name}.hl7").read_bytes()
    message = parse(lines)
    profile, separator = sample(), message.separators.field
    for at, segment in enumerate(message.segments[1:], start=1):
        for number in range(1, len(segment.fields)):
            for variant in VARIANTS:
                fields = [*segment.fields[:number], variant, *segment.fields[number + 1 :]]
                texts = [separator.join(s.fields) for s in message.segments]
                header = message.header.fields
                texts[0] = separator.join((header[0], *header[2:12]))
                texts[at] = separator.join(fields)
                try:
                    map_message(parse("\r".join(texts).encode()), profile, ZONE, NOW, adult_age)
                except Refused as refused:
                    assert refused.code is not ErrorCode.INTERNAL, (refused, number, variant[:9])
                    assert "长" not in str(refused)


def test_what_gives_events_is_found_by_type_and_trigger() -> None:
    assert {kind: sorted(triggers) for kind, triggers in MAPPED.items()} == {
        "ADT": ["A01", "A03", "A04", "A08", "A11", "A13", "A28", "A31", "A40", "A60"],
        "ORU": ["R01"],
        "ORM": ["O01"],
        "OMG": ["O19"],
        "OMI": ["O23"],
        "OML": ["O21"],
        "SIU": ["S12", "S13", "S14", "S15", "S16", "S17", "S26"],
        "MDM": [f"T{n:02}" for n in range(1, 12)],
        "RDE": ["O11", "O25"],
    }
