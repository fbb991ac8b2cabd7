"""Are a bundle's dates shifted rightly, and is what must not happen called wrong?"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import httpx
import pytest

from scripts.interop_fhir import MEDIA_TYPE, shifted, wrong

TODAY = date(2026, 11, 26)


def encounter(start: str, end: str | None = None) -> dict[str, Any]:
    period = {"start": start} | ({"end": end} if end else {})
    return {"resource": {"resourceType": "Encounter", "period": period}}


def test_the_last_encounter_is_yesterdays_and_all_else_moves_with_it() -> None:
    born = {"resource": {"resourceType": "Patient", "birthDate": "1970-01-01", "id": "1970-01-x"}}
    old = {"entry": [encounter("2020-02-01", "2020-02-27T10:00:00+08:00"), born]}
    moved = json.loads(shifted(json.dumps(old).encode(), TODAY))
    assert moved["entry"][0]["resource"]["period"] == {
        "start": "2026-10-30",
        "end": "2026-11-25T10:00:00+08:00",
    }
    assert moved["entry"][1]["resource"]["birthDate"] == "1976-09-29"
    assert moved["entry"][1]["resource"]["id"] == "1970-01-x"


def test_what_has_no_encounter_or_is_no_json_is_sent_as_it_is() -> None:
    for raw in (b"{", b'{"birthDate": "1970-01-01"}'):
        assert shifted(raw, TODAY) == raw


def answer(status: int, kind: str = "transaction-response") -> httpx.Response:
    body = json.dumps({"resourceType": "Bundle", "type": kind})
    return httpx.Response(status, headers={"Content-Type": MEDIA_TYPE}, content=body)


def kept(standing: str, *codes: str) -> list[dict[str, Any]]:
    return [{"standing": standing, "faults": [{"code": code} for code in codes]}]


@pytest.mark.parametrize(
    ("told", "stored", "expected"),
    [
        (answer(200), kept("accepted"), ""),
        (answer(422), kept("refused", "required"), ""),
        (answer(200), kept("refused", "required"), "accepted and refused"),
        (answer(200, "batch-response"), kept("refused", "required"), ""),
        (answer(200), [], "answered and not stored"),
        (answer(503), [], "an error of ours"),
        (answer(400), kept("refused", "exception"), "an error of ours"),
        (httpx.Response(200, text="ok"), kept("accepted"), "not answered as FHIR has it"),
    ],
)
def test_what_must_not_become_of_a_file_is_said(
    told: httpx.Response, stored: list[dict[str, Any]], expected: str
) -> None:
    assert wrong(told, stored, again=False) == expected
