"""Does the report over our own messages say what became of each?"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from libs.common.devstack.stack import Stack
from scripts.interop_report import CORPUS, OURS, report


def test_each_message_of_our_corpus_has_a_line_with_its_events_or_its_refusal(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(CORPUS, stack) == 0
    *lines, _, total = capsys.readouterr().out.splitlines()
    said = {name: rest for name, _, rest in (line.partition("  ") for line in lines)}
    assert set(said) == {file.name for file in CORPUS.glob("*.hl7")}
    assert "0 went wrong" in total
    cancelled = "AA  hospital.encounter.discharge_cancelled.v1"
    assert said["adt-a13-cancelled.hl7"].startswith(cancelled)
    assert said["adt-a03-other-separators.hl7"].startswith("AA  hospital.encounter.discharged.v1")
    refused = "AR  refused at PV1-36 (1), 103: unknown disposition code 77"
    assert said["adt-a03-unknown-disposition.hl7"] == refused
    assert said["siu-s12.hl7"].startswith("AA  no event; not_used SCH-25")
    assert said["siu-s13-moved.hl7"] == "AA  hospital.exam.rescheduled.v1"


def test_messages_in_one_file_go_one_by_one_and_what_says_nothing_is_looked_for(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = (CORPUS / "adt-a03-adult.hl7").read_bytes()
    silent = (CORPUS / "oru-final.hl7").read_bytes().replace(b"|2.5.1||||||", b"|2.5.1|||NE|NE||")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "three.hl7").write_bytes(first + b"\r" + silent + b"\r" + first + b"\r")
    (tmp_path / "blank.hl7").write_bytes(b"\r\n")
    assert report(tmp_path, stack) == 0
    blank, one, two, three, _, _ = capsys.readouterr().out.splitlines()
    assert blank.startswith("blank.hl7  AR  refused at MSH (1), 100")
    assert one.startswith("deeper/three.hl7 (1)  AA  hospital.encounter.discharged.v1")
    assert two == "deeper/three.hl7 (2)  --  hospital.report.ready.v1; no answer asked for"
    assert three.endswith("the same message as before")


def test_our_bundles_are_taken_beside_the_messages_and_a_wrong_one_is_refused(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (OURS / "fhir").glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "wrong.json.gz").write_bytes(gzip.compress(b'{"resourceType": "Bundle"}'))
    (tmp_path / "broken.json").write_bytes(b"{")
    assert report(tmp_path, stack) == 0
    *lines, _, total = capsys.readouterr().out.splitlines()
    said = {name: rest for name, _, rest in (line.partition("  ") for line in lines)}
    stay = said["transaction-stay.json"]
    assert stay.startswith("200  hospital.patient.registered.v1, hospital.guardian.linked.v1")
    assert "hospital.encounter.discharged.v1" in stay and "not_used CarePlan" in stay
    assert "hospital.report.ready.v1" in said["message-report.json"]
    assert said["wrong.json.gz"] == "422  refused at Bundle.type, required: required"
    assert said["broken.json"].startswith("400  refused at the body, invalid")
    assert "3 accepted, 2 refused; 0 went wrong" in total
