"""Who sees and does what over HTTP, and what is answered to everything else?"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common.audit import Outcome
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.unit.prescriptions.given import (
    linked,
    merged,
    prescription,
    registered,
    stopped,
    unlinked,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def items(caller: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await caller.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def statuses(answers: Iterable[httpx.Response]) -> set[int]:
    return {a.status_code for a in answers}


# -- somebody else's ----------------------------------------------------------------------


async def test_somebody_elses_renewal_does_not_exist(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    path = f"/v1/refills/{refill['id']}"
    outsiders = [
        hospital.patient("p9"),
        hospital.guardian("p9"),
        hospital.doctor("dr3", "surgery"),
        hospital.pharmacist(),  # before a doctor has signed
        Hospital(hospital.service, f"h{uuid.uuid4().hex[:8]}").patient(),
        Hospital(hospital.service, f"h{uuid.uuid4().hex[:8]}").doctor(),
    ]
    answers = [await c.get(path) for c in outsiders]
    assert statuses(answers) == {404}
    assert {a.json()["reason"] for a in answers} == {"not_found"}
    patients = [hospital.patient("p9"), hospital.guardian("p9")]
    answers = [await c.get("/v1/refills", params={"patient_id": "p1"}) for c in patients]
    answers += [await c.get("/v1/renewable", params={"patient_id": "p1"}) for c in patients]
    answers += [await ask(c) for c in patients]
    answers += [await c.post(f"{path}/cancel") for c in patients]
    answers.append(await decide(hospital.doctor("dr3", "surgery"), refill, "approve"))
    answers.append(await review(hospital.pharmacist(), refill, "pass"))
    assert statuses(answers) == {404}
    assert await items(hospital.doctor("dr3", "surgery"), "/v1/refills", patient_id="p1") == []
    assert await items(hospital.doctor("dr3", "surgery"), "/v1/work-lists/doctor") == []
    refused = await hospital.service.rows("audit", hospital.id)
    assert sum(r["outcome"] == Outcome.MINOR_FAILURE for r in refused) == 4 + 4


async def test_a_linked_person_sees_and_asks_until_the_link_ends(hospital: Hospital) -> None:
    await hospital.prescribe()
    now = hospital.service.clock.now()
    await hospital.tell(linked("p5", linked_at=now - timedelta(hours=1)))
    await hospital.settled("link")
    asked = await ask(hospital.guardian())
    assert asked.status_code == 201
    [seen] = await items(hospital.guardian(), "/v1/refills", patient_id="p1")
    assert seen["requested_by"] == "p5"
    await hospital.tell(unlinked(now, "p5"))
    await hospital.settled("link", 2)
    path = f"/v1/refills/{seen['id']}"
    assert (await hospital.guardian().get(path)).status_code == 404
    assert (await hospital.patient().get(path)).status_code == 200
    read = (await hospital.doctor().get(path)).json()
    assert {c["verdict"] for c in read["checks"] if c["rule"] == "requester"} == {"refused"}
    answer = await decide(hospital.doctor(), read, "approve")
    assert (answer.status_code, answer.json()["reason"]) == (422, "requester_may_not_act")


async def test_a_merged_record_is_read_under_either_id(hospital: Hospital) -> None:
    await hospital.prescribe("rx1", patient="p1")
    await hospital.prescribe("rx2", patient="p2")
    refill = await hospital.renewed("rx1", "p1")
    await hospital.tell(merged("p1", "p2", hospital.service.clock.now()))
    await hospital.settled("merged")
    for person in ("p1", "p2"):
        for named in ("p1", "p2"):
            caller = hospital.patient(person)
            [line] = await items(caller, "/v1/refills", patient_id=named)
            assert line["id"] == refill["id"]
            found = await items(caller, "/v1/renewable", patient_id=named)
            assert {f["prescription_id"] for f in found} == {"rx1", "rx2"}
            assert {f["renewals_used"] for f in found} == {1}


async def test_staff_see_a_patients_renewals_of_their_own_concern_only(hospital: Hospital) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="b", department="endocrinology", prescriber_id="dr7")
    ids = {rx: (await hospital.asked(rx))["id"] for rx in ("rx1", "rx2")}
    seen = {
        "cardiology": hospital.doctor("dr2"),
        "endocrinology": hospital.doctor("dr8", "endocrinology"),
        "prescriber": hospital.doctor("dr7", "surgery"),
        "pharmacist": hospital.pharmacist(),
    }
    expected = {
        "cardiology": {ids["rx1"]},
        "endocrinology": {ids["rx2"]},
        "prescriber": {ids["rx2"]},
        "pharmacist": set(),
    }
    for who, caller in seen.items():
        found = await items(caller, "/v1/refills", patient_id="p1")
        assert {r["id"] for r in found} == expected[who], who
        if who != "pharmacist":
            found = await items(caller, "/v1/work-lists/doctor")
            assert {r["id"] for r in found} == expected[who], who
    [one] = await items(hospital.doctor("dr1"), "/v1/work-lists/doctor", department="cardiology")
    await decide(hospital.doctor(), one, "approve")
    [line] = await items(hospital.pharmacist(), "/v1/work-lists/pharmacist")
    assert line["id"] == ids["rx1"]
    [line] = await items(hospital.pharmacist(), "/v1/refills", patient_id="p1")
    assert line["id"] == ids["rx1"]
    elsewhere = await items(
        hospital.pharmacist(), "/v1/work-lists/pharmacist", department="endocrinology"
    )
    assert elsewhere == []


async def test_what_was_returned_is_on_the_list_of_the_doctor_who_signed(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    approved = (await decide(hospital.doctor("dr2"), refill, "approve")).json()
    returned = await review(
        hospital.pharmacist(), approved, "return", reason="dose", comment="check the dose"
    )
    assert returned.json()["status"] == "returned"
    for whose in ("mine", "pool"):
        assert await items(hospital.doctor("dr1"), "/v1/work-lists/doctor", whose=whose) == []
    [line] = await items(hospital.doctor("dr1"), "/v1/work-lists/doctor")
    assert line["holder_id"] == "dr2"
    [line] = await items(hospital.doctor("dr2"), "/v1/work-lists/doctor", whose="mine")
    read = (await hospital.doctor("dr2").get(f"/v1/refills/{line['id']}")).json()
    assert read["history"][-1]["comment"] == "check the dose"
    english = {"Accept-Language": "en"}
    other = await hospital.doctor("dr1").post(
        f"/v1/refills/{line['id']}/doctor-decision",
        json={"decision": "approve"},
        headers={"If-Match": f'"{line["version"]}"', **english},
    )
    assert (other.status_code, other.json()["reason"]) == (422, "not_the_signing_doctor")
    assert "returned it to the doctor who signed" in other.json()["detail"]
    assert (await decide(hospital.doctor("dr2"), line, "approve")).status_code == 200


# -- lists --------------------------------------------------------------------------------


async def test_work_lists_come_in_pages_the_oldest_first(hospital: Hospital) -> None:
    await hospital.prescribe(*(f"rx{n}" for n in range(7)), ingredient="a")
    patients = [f"p{n}" for n in range(100, 107)]
    for n, patient in enumerate(patients):
        await hospital.prescribe(f"ry{n}", patient=patient)
    asked = [(await hospital.asked(f"ry{n}", p))["id"] for n, p in enumerate(patients)]
    doctor = hospital.doctor()
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await doctor.get("/v1/work-lists/doctor", params=params)).json()
        seen += [r["id"] for r in page["items"]]
        cursor = page["next"]
    assert (seen, cursor) == (asked, None)
    for path in ("/v1/work-lists/doctor", "/v1/work-lists/pharmacist"):
        caller = doctor if "doctor" in path else hospital.pharmacist()
        answer = await caller.get(path, params={"cursor": "nonsense"})
        assert (answer.status_code, answer.json()["reason"]) == (400, "invalid_cursor")


async def test_what_may_be_renewed_is_listed_with_the_reason_in_words(hospital: Hospital) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="b", code="N05BA12", days_ago=29)
    await hospital.prescribe("rx3", ingredient="c", days_ago=190)
    await hospital.prescribe("rx4", ingredient="d", days_ago=10)
    open_id = (await hospital.asked("rx1"))["id"]
    await hospital.tell(stopped(hospital.service.clock.now(), "rx4"))
    await hospital.settled("stopped")
    headers = {"Accept-Language": "en"}
    patient = hospital.patient()
    lines: list[dict[str, Any]] = []
    params: dict[str, Any] = {"patient_id": "p1", "limit": 3}
    while True:
        page = (await patient.get("/v1/renewable", params=params, headers=headers)).json()
        lines += page["items"]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert [(line["prescription_id"], line["reason"]) for line in lines] == [
        ("rx4", "prescription_stopped"),
        ("rx2", "never_class"),
        ("rx1", "open_request"),
        ("rx3", "too_old"),
    ]
    assert lines[2]["open_refill_id"] == open_id
    assert (lines[2]["renewals_used"], lines[2]["renewals_left"]) == (0, 2)
    assert "older than 183 days" in lines[3]["explanation"]
    chinese = (await patient.get("/v1/renewable", params={"patient_id": "p1"})).json()["items"]
    assert "183" in chinese[3]["explanation"]
    assert "超过" in chinese[3]["explanation"]
    assert len(await items(patient, "/v1/refills", patient_id="p1", limit=1)) == 1


# -- preconditions and mistakes -----------------------------------------------------------


async def test_a_key_used_for_another_request_is_refused(hospital: Hospital) -> None:
    await hospital.prescribe("rx1", "rx2")
    first = await ask(hospital.patient(), "rx1", key="k")
    again = await ask(hospital.patient(replica=1), "rx1", key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await ask(hospital.patient(), "rx2", key="k")
    assert (other.status_code, other.json()["reason"]) == (422, "idempotency_key_reused")
    without = await hospital.patient().post(
        "/v1/refills", json={"prescription_id": "rx1", "patient_id": "p1"}
    )
    assert (without.status_code, without.json()["reason"]) == (400, "idempotency_key_missing")


async def test_a_decision_needs_the_version_that_was_read(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    path = f"/v1/refills/{refill['id']}/doctor-decision"
    doctor = hospital.doctor()
    answer = await doctor.post(path, json={"decision": "approve"})
    assert (answer.status_code, answer.json()["reason"]) == (428, "if_match_missing")
    answer = await doctor.post(path, json={"decision": "approve"}, headers={"If-Match": '"99"'})
    assert (answer.status_code, answer.json()["reason"]) == (412, "changed")
    approved = (await decide(doctor, refill, "approve")).json()
    answer = await decide(doctor, approved, "approve")
    assert (answer.status_code, answer.json()["reason"]) == (409, "wrong_status")
    assert answer.json()["detail"]


async def test_nobody_signs_and_reviews(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    both = hospital.caller("dr1", "doctor", "pharmacist", departments=["cardiology"])
    approved = (await decide(both, refill, "approve")).json()
    answer = await review(both, approved, "pass")
    assert (answer.status_code, answer.json()["reason"]) == (422, "separation_of_duties")
    assert "不同的人" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, {"/decision"}),
        ({"decision": "maybe"}, {"/decision"}),
        ({"decision": "approve", "valid_days": "2"}, {"/valid_days"}),
        ({"decision": "approve", "valid_days": 0}, {"/valid_days"}),
        ({"decision": "approve", "surprise": 1}, {"/surprise"}),
        ({"decision": "decline", "reason": "In Words"}, {"/reason"}),
    ],
)
async def test_a_malformed_decision_is_answered_by_its_field(
    hospital: Hospital, body: dict[str, Any], where: set[str]
) -> None:
    answer = await hospital.doctor().post(
        "/v1/refills/x/doctor-decision", json=body, headers={"If-Match": '"1"'}
    )
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_request")
    assert {e["field"] for e in answer.json()["errors"]} == where


async def test_saying_no_needs_a_reason_and_three_days_are_the_most(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    answer = await decide(hospital.doctor(), refill, "decline")
    assert (answer.status_code, answer.json()["reason"]) == (422, "reason_missing")
    answer = await decide(hospital.doctor(), refill, "approve", valid_days=4)
    assert (answer.status_code, answer.json()["reason"]) == (422, "validity_too_long")
    assert "最长 3 天" in answer.json()["detail"]


async def test_a_malformed_request_tells_nothing_of_what_was_sent(hospital: Hospital) -> None:
    answer = await ask(hospital.patient(), "rx/1", "p1", note="")
    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {"/prescription_id", "/note"}
    assert "rx/1" not in answer.text


async def test_a_request_is_taken_back_once(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    path = f"/v1/refills/{refill['id']}/cancel"
    patient = hospital.patient()
    stale = await patient.post(path, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    answers = await asyncio.gather(*(patient.post(path) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    assert (await hospital.asked())["number"] == 1


async def test_an_unknown_id_is_not_found(hospital: Hospital) -> None:
    refill = {"id": "unknown", "version": 1}
    answers = [
        await hospital.patient().get("/v1/refills/unknown"),
        await hospital.doctor().get("/v1/refills/unknown"),
        await decide(hospital.doctor(), refill, "approve"),
        await review(hospital.pharmacist(), refill, "pass"),
        await hospital.patient().post("/v1/refills/unknown/cancel"),
        await ask(hospital.patient(), "unknown"),
    ]
    assert statuses(answers) == {404}


async def test_an_order_by_another_hospital_is_refused(hospital: Hospital) -> None:
    at = hospital.service.clock.now()
    await hospital.tell(registered(at=at), prescription("rx1", at=at, authored_here=False))
    await hospital.settled("recorded")
    await hospital.settled("issued")
    answer = await ask(hospital.patient())
    assert (answer.status_code, answer.json()["reason"]) == (422, "other_hospital")
    assert "本院" in answer.json()["detail"]


@pytest.mark.parametrize(("language", "word"), [("zh-CN", "档案"), ("en", "record")])
async def test_who_might_be_a_child_is_told_to_wait_for_the_record(
    hospital: Hospital, language: str, word: str
) -> None:
    at = hospital.service.clock.now()
    await hospital.tell(prescription("rx1", at=at))
    await hospital.settled("issued")
    headers = {"Accept-Language": language}
    answer = await ask(hospital.patient(), headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (422, "age_unknown")
    listed = await hospital.patient().get(
        "/v1/renewable", params={"patient_id": "p1"}, headers=headers
    )
    (line,) = listed.json()["items"]
    assert (line["renewable"], line["explanation"]) == (False, answer.json()["detail"])
    assert word in line["explanation"]
    await hospital.tell(registered(at=at))
    await hospital.settled("recorded")
    assert (await ask(hospital.patient())).status_code == 201


async def test_a_family_finds_whose_medicines_it_may_have_renewed(hospital: Hospital) -> None:
    await hospital.prescribe("rx1", patient="p1")
    await hospital.prescribe("rx2", patient="p2")
    await hospital.prescribe("rx3", patient="p3")
    now = hospital.service.clock.now()
    at = now - timedelta(hours=1)
    await hospital.tell(
        linked("p5", "p1", linked_at=at),
        linked("p5", "p2", linked_at=at),
        linked("p1", "p3", linked_at=at),
        unlinked(now, "p5", "p2"),
    )
    await hospital.settled("link", 4)

    async def whose(caller: httpx.AsyncClient) -> set[tuple[str, bool]]:
        answer = await caller.get("/v1/my-patients")
        assert answer.status_code == 200, answer.text
        assert all(one["name"] for one in answer.json() if one["patient_id"] != "p6")
        return {(one["patient_id"], one["oneself"]) for one in answer.json()}

    assert await whose(hospital.guardian()) == {("p1", False)}
    assert await whose(hospital.patient("p1")) == {("p1", True), ("p3", False)}
    assert await whose(hospital.patient("p2")) == {("p2", True)}
    assert await whose(hospital.patient("p9")) == set()
    elsewhere = Hospital(hospital.service, f"h{uuid.uuid4().hex[:8]}")
    assert await whose(elsewhere.guardian()) == set()
    reads = await hospital.service.rows("audit", hospital.id)
    assert {(r["agent"]["who"], r["patient"]) for r in reads} == {
        ("p5", "p1"), ("p1", "p1"), ("p1", "p3"), ("p2", "p2"),
    }  # fmt: skip
    await hospital.tell(merged("p5", "p6", now))
    await hospital.settled("merged")
    assert await whose(hospital.guardian("p6")) == {("p1", False), ("p6", True)}


async def test_a_no_says_what_to_do_instead(hospital: Hospital) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="b", days_ago=2, days_supply=28)
    open_id = (await hospital.asked("rx1"))["id"]
    headers = {"Accept-Language": "en"}
    again = (await ask(hospital.patient(), "rx1", headers=headers)).json()
    assert again["instead"] == {
        "step": "follow",
        "refill_id": open_id,
        "text": "Follow the renewal that is under way.",
    }
    early = (await ask(hospital.patient(), "rx2", key="early")).json()
    assert early["instead"]["step"] == "wait"
    assert early["instead"]["text"] == f"{early['instead']['on']} 起可以申请续方。"
    replayed = (await ask(hospital.patient(replica=1), "rx2", key="early", headers=headers)).json()
    assert replayed["instead"]["text"].startswith("You can ask for it from")
    lines = await items(hospital.patient(), "/v1/renewable", patient_id="p1")
    steps = {line["prescription_id"]: line["instead"]["step"] for line in lines}
    assert steps == {"rx1": "follow", "rx2": "wait"}
