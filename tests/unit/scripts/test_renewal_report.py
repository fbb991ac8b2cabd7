"""Does the report say what could be renewed, by which rule not, and of nobody who it is?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.renewal_report import CORPUS, main

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


def lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main([str(folder)], NOW) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_of_our_bundles_each_prescription_is_renewed_or_has_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lines(CORPUS, capsys) == [
        "8 MedicationRequests gave 8 prescriptions",
        "1 of a medicine without an ATC code, which is on no list",
        "2 of 8 can be renewed today by renewal-2026-01-01",
        "why not: the reason that is told, and how often its rule says no at all",
        "1 1 stable_regimen: prescription_stopped",
        "1 1 never_classes: never_class",
        "2 3 restricted_list: not_on_list",
        "1 2 window: too_old",
        "1 2 not_too_early: too_early",
        "not checked, and shown to the doctor: of those that can be renewed, and of all",
        "0 1 never_classes",  # without an ATC code
        "2 5 restricted_list",  # none names what it is for
        "1 3 not_too_early",
        "1 3 supply",
        "2 7 stable_condition",
        "2 7 allergy",
        "2 8 clinical_checks",
        "by medicine: how many of its prescriptions can be renewed, and why not the others",
        "1 1 A10BA02",
        "0 1 C03AA03 too_old 1",
        "1 1 C08CA01",
        "0 1 C10AA01 prescription_stopped 1",
        "0 1 C10AA05 too_early 1",
        "0 1 H02AB06 not_on_list 1",  # a guardian asked: not "guardian_needed"
        "0 1 N05BA01 never_class 1",
        "0 1 RXNORM:235389 not_on_list 1",
    ]


def test_what_fhirs_edge_refuses_is_counted_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = json.loads((CORPUS / "transaction-prescriptions.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(bundle))
    bundle["entry"][-1]["resource"] = {"resourceType": "MedicationRequest"}
    (tmp_path / "b.json").write_text(json.dumps(bundle))
    (tmp_path / "c.json").write_text("{")
    told = lines(tmp_path, capsys)
    assert told[0] == "14 MedicationRequests gave 7 prescriptions"
    assert "1 refused as FHIR: invalid: the body is no JSON (UTF-8)" in told
    assert sum("refused as FHIR: required" in line for line in told) == 1


def test_of_the_same_record_twice_each_prescription_is_asked_for_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = (CORPUS / "transaction-prescriptions.json").read_bytes()
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(raw)
    told = lines(tmp_path, capsys)
    assert told[0] == "14 MedicationRequests gave 7 prescriptions"
    assert told[2].startswith("2 of 7 ")


def test_nobody_can_be_recognised_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    told = "\n".join(lines(CORPUS, capsys))
    for secret in ("F100", "RX-5", "FV-2", "d-30", "样例", "0401", "N04", "1958", "2019"):
        assert secret not in told
