"""Are renewals signed, and can anyone verify what was signed?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from libs.common import detached_jws
from services.prescriptions.domain.form import digest
from services.prescriptions.senders.local_keys import LocalKeys
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.support.access import client
from tests.unit.prescriptions.given import linked, prescription, stopped

pytestmark = pytest.mark.asyncio(loop_scope="module")


def anyone(hospital: Hospital) -> httpx.AsyncClient:
    """Somebody without a token."""
    return client(hospital.service.apps[1])


async def stored(hospital: Hospital, refill: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The forms of a renewal, as they are stored."""
    rows = await hospital.service.rows("refills", hospital.id)
    return [dict(f) for r in rows if r["id"] == refill["id"] for f in r["forms"]]


async def by_code(
    at: Hospital, refill: Mapping[str, Any], code: str, **more: str
) -> httpx.Response:
    params = {"hospital": at.id, **more}
    path = f"/v1/prescriptions/{refill['new_prescription_id']}/verification"
    return await anyone(at).get(path, params=params, headers={"Verification-Code": code})


async def of_copy(hospital: Hospital, text: str, *jws: str) -> dict[str, Any]:
    body = {"document": text, "signatures": list(jws)}
    answer = await anyone(hospital).post("/v1/prescriptions/verification", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def reasons(answer: Mapping[str, Any]) -> list[str | None]:
    return [s["reason"] for s in answer["signatures"]]


async def test_anyone_with_the_code_hears_who_signed_and_nothing_about_the_patient(
    hospital: Hospital,
) -> None:
    await hospital.prescribe(diagnoses=["I10"])
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    answer = await by_code(hospital, refill, form["digest"])
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["valid"], found["reason"]) == (True, None)
    assert [(s["role"], s["practitioner_id"], s["verified"]) for s in found["signatures"]] == [
        ("doctor", "dr1", True),
        ("pharmacist", "ph1", True),
    ]
    assert {s["algorithm"] for s in found["signatures"]} == {"ES256"}
    standing = found["standing"]
    assert (standing["status"], standing["dispensable"]) == ("effective", True)
    assert standing["valid_on"] == refill["valid_on"]
    content = json.loads(form["text"])
    for secret in ("李一", "1970-05-01", "p1", "Amlodipine", "C08CA01", "I10", content["dosage"]):
        assert f'"{secret}"' not in answer.text and secret not in answer.text.split('"')
    assert answer.headers["Cache-Control"] == "no-store"


async def test_without_the_code_a_prescription_does_not_exist(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    right = form["digest"]
    wrong = [right[:-1] + ("A" if right[-1] != "A" else "B"), right[:-1], "x"]
    answers = [await by_code(hospital, refill, code) for code in wrong]
    answers.append(await by_code(hospital, refill, right, hospital="another"))
    answers.append(await by_code(hospital, {"new_prescription_id": "rx1"}, right))
    assert {a.status_code for a in answers} == {404}
    assert {a.json()["reason"] for a in answers} == {"not_found"}
    path = f"/v1/prescriptions/{refill['new_prescription_id']}/verification"
    bare = await anyone(hospital).get(path, params={"hospital": hospital.id})
    assert bare.status_code == 400


async def test_a_copy_verifies_and_no_changed_byte_of_it_does(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    text, jws = form["text"], [s["jws"] for s in form["signatures"]]
    whole = await of_copy(hospital, text, *jws)
    assert whole["valid"] and whole["standing"]["status"] == "effective"
    assert (await of_copy(hospital, text, *reversed(jws)))["valid"]  # in either order
    changed = [
        text.replace('"value":"7"', '"value":"70"'),
        text.replace("Amlodipine", "Amlodipin"),
        text.replace("李一", "李二"),
        text.replace('"version":1', '"version":2'),
        text.replace(",", ", ", 1),  # the same content, other bytes
        text + " ",
    ]
    for other in changed:
        assert other != text
        found = await of_copy(hospital, other, *jws)
        assert (found["valid"], found["standing"]) == (False, None), other
        assert reasons(found) == ["signature_wrong"] * 2
    for n in (0, len(text) // 2, len(text) - 1):
        found = await of_copy(hospital, text[:n] + "~" + text[n + 1 :], *jws)
        assert found["valid"] is False
    assert (await of_copy(hospital, "{}", *jws))["reason"] == "not_a_prescription"


async def test_signatures_that_are_missing_swapped_or_foreign_do_not_make_a_prescription(
    hospital: Hospital,
) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="b")
    forms = [(await stored(hospital, await hospital.renewed(rx)))[0] for rx in ("rx1", "rx2")]
    text = forms[0]["text"]
    doctor, pharmacist = (s["jws"] for s in forms[0]["signatures"])
    others = [s["jws"] for s in forms[1]["signatures"]]
    for one in (doctor, pharmacist):
        found = await of_copy(hospital, text, one)
        assert (found["valid"], found["reason"]) == (False, "signature_missing")
    assert not (await of_copy(hospital, text, doctor, doctor))["valid"]
    assert not (await of_copy(hospital, text, doctor, pharmacist, pharmacist))["valid"]
    assert reasons(await of_copy(hospital, text, doctor, others[1])) == [None, "signature_wrong"]
    head = detached_jws.text(json.dumps({"alg": "none", "kid": "k"}).encode())
    assert reasons(await of_copy(hospital, text, doctor, f"{head}..")) == [None, "key_unknown"]
    kid = detached_jws.header_of(pharmacist)["kid"]
    head = detached_jws.text(json.dumps({"alg": "none", "kid": kid}).encode())
    unsigned = await of_copy(hospital, text, doctor, f"{head}..")
    assert reasons(unsigned) == [None, "algorithm_not_verified"]
    assert not unsigned["valid"]


async def test_the_public_keys_verify_a_prescription_without_us(hospital: Hospital) -> None:
    await hospital.prescribe()
    [form] = await stored(hospital, await hospital.renewed())
    for signature in form["signatures"]:
        kid = detached_jws.header_of(signature["jws"])["kid"]
        answer = await anyone(hospital).get(
            "/v1/signing-keys", params={"hospital": hospital.id, "kid": kid}
        )
        [key] = answer.json()["keys"]
        assert (key["kid"], key["sub"]) == (kid, signature["person_id"])
        assert "d" not in key
        header = detached_jws.verify(signature["jws"], form["text"].encode(), key)
        assert (header["sub"], header["role"]) == (signature["person_id"], signature["role"])
    answer = await anyone(hospital).get(
        "/v1/signing-keys", params={"hospital": hospital.id, "kid": "other"}
    )
    assert answer.json() == {"keys": []}


async def test_what_an_old_key_signed_verifies_after_the_key_was_replaced(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    first = await hospital.renewed()
    signer = hospital.service.apps[0].state.adapters.signer
    assert isinstance(signer, LocalKeys)
    signer.file(hospital.id, "dr1").unlink()
    second = await hospital.renewed()
    forms = [(await stored(hospital, r))[0] for r in (first, second)]
    keys = [[s["kid"] for s in f["signatures"]] for f in forms]
    assert keys[0][0] != keys[1][0]  # the doctor's
    assert keys[0][1] == keys[1][1]  # the pharmacist's
    for refill, form in zip((first, second), forms, strict=True):
        assert (await by_code(hospital, refill, form["digest"])).json()["valid"]


async def test_a_returned_version_is_superseded_and_a_stopped_prescription_is_not_dispensed(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    approved = (await decide(hospital.doctor(), asked, "approve")).json()
    returned = (await review(hospital.pharmacist(), approved, "return", reason="dose")).json()
    approved = (await decide(hospital.doctor(), returned, "approve")).json()
    refill = (await review(hospital.pharmacist(), approved, "pass")).json()
    old, new = await stored(hospital, refill)
    found = (await by_code(hospital, refill, old["digest"])).json()
    assert (found["valid"], found["standing"]["status"]) == (False, "superseded")
    assert not found["standing"]["dispensable"]
    found = (await by_code(hospital, refill, new["digest"])).json()
    assert found["standing"]["dispensable"]
    own = refill["new_prescription_id"]
    await hospital.tell(stopped(hospital.service.clock.now(), own))
    await hospital.settled("stopped_before_issued")
    found = (await by_code(hospital, refill, new["digest"])).json()
    assert (found["valid"], found["standing"]["status"]) == (True, "stopped")
    assert not found["standing"]["dispensable"]


async def test_after_its_last_day_a_prescription_is_genuine_but_not_dispensed(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    clock = hospital.service.clock
    before, clock.ahead = clock.ahead, clock.ahead + timedelta(days=3)
    try:
        found = (await by_code(hospital, refill, form["digest"])).json()
    finally:
        clock.ahead = before
    assert (found["valid"], found["standing"]["dispensable"]) == (True, False)
    assert digest(form["text"]) == form["digest"]


async def test_without_the_patients_record_no_prescription_can_be_made_out(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    now = hospital.service.clock.now()
    await hospital.tell(linked("p5", patient="p7", linked_at=now - timedelta(hours=1)))
    await hospital.tell(prescription("rx7", patient_id="p7", at=now - timedelta(days=30)))
    await hospital.settled("issued", 2)
    await hospital.settled("link")
    asked = await ask(hospital.guardian(), "rx7", "p7")
    assert asked.status_code == 201, asked.text
    answer = await decide(hospital.doctor(), asked.json(), "approve")
    assert (answer.status_code, answer.json()["reason"]) == (422, "record_missing")
    assert not any(r["forms"] for r in await hospital.service.rows("refills", hospital.id))


async def test_the_parties_have_the_signed_text_and_the_paper_and_it_is_recorded(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    path = f"/v1/refills/{asked['id']}/prescription"
    early = await hospital.patient().get(f"{path}.pdf")
    assert (early.status_code, early.json()["reason"]) == (409, "wrong_status")
    approved = (await decide(hospital.doctor(), asked, "approve")).json()
    for half in (path, f"{path}.pdf"):  # one signature is not two
        assert (await hospital.pharmacist().get(half)).status_code == 409
    refill = (await review(hospital.pharmacist(), approved, "pass")).json()
    for caller in (hospital.patient(), hospital.doctor(), hospital.pharmacist()):
        copy = (await caller.get(path)).json()
        found = await of_copy(hospital, copy["document"], *copy["signatures"])
        assert found["valid"]
        base, _, fragment = copy["link"].partition("#")
        asks = {k: v[0] for k, v in parse_qs(fragment).items()}
        assert base.endswith("/verify")
        assert asks == {
            "h": hospital.id,
            "p": refill["new_prescription_id"],
            "c": copy["code"],
        }
        paper = await caller.get(f"{path}.pdf", headers={"Accept-Language": "en"})
        assert paper.headers["Content-Type"] == "application/pdf"
        assert paper.headers["ETag"] == f'"{refill["version"]}"'
        assert paper.content.startswith(b"%PDF-")
    strangers = [hospital.patient("p9"), hospital.guardian("p9"), hospital.doctor("d", "surgery")]
    for stranger in strangers:
        for one in (path, f"{path}.pdf"):
            assert (await stranger.get(one)).status_code == 404
    reads = await hospital.service.rows("audit", hospital.id)
    route = "GET /v1/refills/{id}/prescription.pdf"
    seen = sorted((r["agent"]["who"], r["outcome"]) for r in reads if r["source"]["site"] == route)
    assert len(seen) == 2 + 3 + 3


async def test_the_page_behind_the_code_is_open_and_loads_nothing_from_elsewhere(
    hospital: Hospital,
) -> None:
    page = await anyone(hospital).get("/verify")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    for file in ("verify.js", "verify.css"):
        assert file in page.text
        assert (await anyone(hospital).get(f"/{file}")).status_code == 200
