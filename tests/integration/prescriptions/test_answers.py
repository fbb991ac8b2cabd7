"""Do a doctor's answers reach patient, pharmacist, paper and bus as they were given?"""

from __future__ import annotations

import json
from typing import Any

import pypdfium2
import pytest

from libs.common.events import (
    PractitionerRegistered,
    RefillDoctorChanged,
    RefillDoctorReplaced,
    RefillVisitNeeded,
    StaffRole,
)
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.support.access import client
from tests.unit.prescriptions.given import prescription

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_WEEKS = {"value": 14, "unit": "tablet"}


async def test_a_changed_approval_is_shown_beside_the_original_signed_and_printed(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    now = hospital.service.clock.now()
    await hospital.tell(
        *(
            PractitionerRegistered(
                practitioner_id=id, name=name, roles=(StaffRole.DOCTOR,), updated_at=now
            )
            for id, name in (("dr1", "王一"), ("ph1", "赵一"))
        )
    )
    await hospital.settled("practitioner", 2)
    asked = await hospital.asked()
    changed = await decide(
        hospital.doctor(), asked, "change", quantity=TWO_WEEKS, refills_allowed=1, comment="x",
        valid_days=3,
    )  # fmt: skip
    assert (changed.status_code, changed.json()["remaining"]) == (200, 1), changed.text
    path = f"/v1/refills/{asked['id']}"
    seen: dict[str, Any] = {}
    for caller in (hospital.patient(), hospital.pharmacist()):
        seen = (await caller.get(path)).json()
        assert (seen["quantity"]["value"], seen["days_supply"]) == (7, 7)
        prescribed = seen["prescribed"]
        assert (prescribed["quantity"]["value"], prescribed["days_supply"]) == (14, 14)
        assert (prescribed["refills_allowed"], prescribed["replaces"]) == (1, False)
        assert seen["history"][-1]["changes"]["days_supply"] == 14
    [waiting] = (await hospital.pharmacist().get("/v1/work-lists/pharmacist")).json()["items"]
    assert (waiting["days_supply"], waiting["changed"]) == (
        14,
        ["quantity", "days_supply", "refills_allowed"],
    )
    assert seen["renewals_left"] == 3  # this one not counted, and not yet in effect
    passed = await review(hospital.pharmacist(), changed.json(), "pass")
    assert (passed.status_code, passed.json()["remaining"]) == (200, 1)
    assert (await hospital.doctor().get(path)).json()["renewals_left"] == 1
    listed = await hospital.patient().get("/v1/renewable", params={"patient_id": "p1"})
    assert [line["renewals_left"] for line in listed.json()["items"]] == [1]
    paper = await hospital.patient().get(f"{path}/prescription.pdf")
    text = "".join(p.get_textpage().get_text_range() for p in pypdfium2.PdfDocument(paper.content))
    for part in ("× 14 tablet", "× 7 tablet", "王一（dr1）", "赵一（ph1）"):
        assert part in text, part
    events = await hospital.published(7)
    [fact] = [e.data for e in events if isinstance(e.data, RefillDoctorChanged)]
    assert (fact.days_supply, fact.refills_allowed) == (14, 1)


async def test_a_replacement_says_both_dosings_to_whoever_verifies_it(hospital: Hospital) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    new = {"dosage": "two tablets in the morning", "quantity": TWO_WEEKS, "days_supply": 7}
    replaced = await decide(hospital.doctor(), asked, "replace", valid_days=3, **new)
    assert replaced.status_code == 200, replaced.text
    passed = (await review(hospital.pharmacist(), replaced.json(), "pass")).json()
    copy = (await hospital.patient().get(f"/v1/refills/{asked['id']}/prescription")).json()
    content = json.loads(copy["document"])
    assert (content["dosage"], content["before"]["dosage"]) == (
        "two tablets in the morning",
        "one tablet in the morning",
    )
    assert content["replaces"] == "rx1"
    anyone = client(hospital.service.apps[1])
    body = {"document": copy["document"], "signatures": copy["signatures"]}
    verified = (await anyone.post("/v1/prescriptions/verification", json=body)).json()
    assert (verified["valid"], verified["standing"]["dispensable"]) == (True, True)
    paper = await hospital.pharmacist().get(f"/v1/refills/{asked['id']}/prescription.pdf")
    text = "".join(p.get_textpage().get_text_range() for p in pypdfium2.PdfDocument(paper.content))
    assert content["dosage"] in text and content["before"]["dosage"] in text
    again = await ask(hospital.patient())
    assert (again.status_code, again.json()["reason"]) == (422, "prescription_replaced")
    own = passed["new_prescription_id"]
    at = hospital.service.clock.now()
    await hospital.tell(prescription(own, at=at, refill_id=asked["id"], **new))
    await hospital.settled("issued", 2)
    second = await hospital.asked(own)
    no = await decide(hospital.doctor(), second, "replace", **{**new, "dosage": "three tablets"})
    assert (no.status_code, no.json()["reason"]) == (422, "replacement_not_allowed")
    assert "visit_needed" in no.json()["detail"]
    told = [e.data for e in await hospital.published(8)]
    [fact] = [d for d in told if isinstance(d, RefillDoctorReplaced)]
    assert (fact.new_prescription_id, fact.dosage) == (own, content["dosage"])


async def test_who_has_to_come_in_is_told_so_with_the_reason_in_words(hospital: Hospital) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    reasons = (await hospital.doctor().get("/v1/answer-reasons")).json()["reasons"]
    offered = [r["code"] for r in reasons if "visit_needed" in r["answers"]]
    unknown = await decide(hospital.doctor(), asked, "visit_needed", reason="bad_mood")
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "reason_unknown")
    assert (unknown.json()["field"], unknown.json()["codes"]) == ("reason", ", ".join(offered))
    assert offered[0] in unknown.json()["detail"]
    answer = await decide(hospital.doctor(), asked, "visit_needed", reason="examination_due")
    assert (answer.status_code, answer.json()["status"]) == (200, "visit_needed")
    english = {"Accept-Language": "en"}
    seen = (await hospital.patient().get(f"/v1/refills/{asked['id']}", headers=english)).json()
    [code] = [r for r in reasons if r["code"] == "examination_due"]
    assert seen["reason_text"] == code["text"]["en"]
    assert (await ask(hospital.patient())).status_code == 201  # the place is free again
    events = await hospital.published(6)
    assert [e.data.reason for e in events if isinstance(e.data, RefillVisitNeeded)] == [
        "examination_due"
    ]
    templates = [getattr(e.data, "template", None) for e in events]
    assert "refill.visit_needed" in templates


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"quantity": {"value": "14", "unit": "tablet"}}, {"/quantity/value"}),
        ({"quantity": {"value": 0, "unit": "tablet"}}, {"/quantity/value"}),
        ({"quantity": {"value": 14}}, {"/quantity/unit"}),
        ({"quantity": {**TWO_WEEKS, "pack": 1}}, {"/quantity/pack"}),
        ({"refills_allowed": -1}, {"/refills_allowed"}),
        ({"refills_allowed": "1"}, {"/refills_allowed"}),
        ({"dosage": ""}, {"/dosage"}),
        ({"medication": "another"}, {"/medication"}),
    ],
)
async def test_a_malformed_change_is_answered_by_its_field(
    hospital: Hospital, body: dict[str, Any], where: set[str]
) -> None:
    answer = await decide(hospital.doctor(), {"id": "x", "version": 1}, "change", **body)
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_request")
    assert {e["field"] for e in answer.json()["errors"]} == where


async def test_whose_patient_it_is_not_can_not_answer_in_any_way(hospital: Hospital) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    bodies: dict[str, dict[str, Any]] = {
        "change": {"quantity": TWO_WEEKS},
        "replace": {"dosage": "two", "quantity": TWO_WEEKS, "days_supply": 7},
        "visit_needed": {"reason": "examination_due"},
    }
    for decision, body in bodies.items():
        elsewhere = await decide(hospital.doctor("d", "surgery"), asked, decision, **body)
        assert (elsewhere.status_code, elsewhere.json()["reason"]) == (404, "not_found")
        for caller in (hospital.patient(), hospital.pharmacist()):
            assert (await decide(caller, asked, decision, **body)).status_code == 403
        stale = await decide(hospital.doctor(), {**asked, "version": 7}, decision, **body)
        assert (stale.status_code, stale.json()["reason"]) == (412, "changed")


async def test_a_patient_signs_for_a_long_supply_and_the_doctor_approves_it(
    hospital: Hospital,
) -> None:
    await hospital.prescribe(days_ago=60, days_supply=56, diagnoses=["I10"])
    asked = await hospital.asked()
    met = {"assessed": True, "comment": "stable for years"}
    without = await decide(hospital.doctor(), asked, "approve", **met)
    assert (without.status_code, without.json()["reason"]) == (422, "long_supply_conditions")
    declared = (await hospital.patient().get("/v1/declaration")).json()
    path = f"/v1/refills/{asked['id']}"
    body = {"policy": declared["policy"], "language": "zh-CN"}
    headers = {"If-Match": f'"{asked["version"]}"'}
    outdated = await hospital.patient().post(f"{path}/consent", json={**body, "policy": "old"})
    assert (outdated.status_code, outdated.json()["reason"]) == (422, "consent_outdated")
    for stranger in (hospital.patient("p9"), hospital.guardian("p9")):
        assert (await stranger.post(f"{path}/consent", json=body)).status_code == 404
    signed = await hospital.patient().post(f"{path}/consent", json=body, headers=headers)
    assert signed.status_code == 200, signed.text
    stale = await hospital.patient().post(f"{path}/consent", json=body, headers=headers)
    assert (stale.status_code, stale.json()["reason"]) == (412, "changed")
    read = (await hospital.doctor().get(path)).json()
    [consent] = read["consents"]
    assert consent["person_id"] == "p1"
    assert consent["text"] == declared["long_supply"]["text"]["zh-CN"]
    approved = await decide(hospital.doctor(), read, "approve", **met)
    assert (approved.status_code, approved.json()["status"]) == (200, "waiting_pharmacist")
