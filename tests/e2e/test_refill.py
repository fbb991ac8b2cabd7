"""Does a renewal run through doctor and pharmacist, and is the fourth refused whatever comes?"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from libs.common.devstack.day.cast import PHARMACIST, STAFF, Patient
from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.records import AMLODIPINE, prescription, request, visit
from libs.common.devstack.day.wire import Wire
from libs.common.events import (
    Medication,
    PrescriptionStopped,
    RefillCancelled,
    RefillEffective,
    RefillRefused,
    RefillRequested,
    VisitCancelled,
    VisitClass,
)
from tests.e2e.given import Story

DOCTOR, OTHER_DOCTOR = STAFF["d-3020"].caller, STAFF["d-3001"].caller
PHARMACISTS = PHARMACIST.caller


async def regular(story: Story) -> Patient:
    patient = await story.adult(age=64)
    await story.wire.publish(prescription(patient, story.ago(days=60)))
    await story.may_ask(patient.caller, patient)
    return patient


async def test_three_renewals_run_through_and_the_fourth_is_refused_in_plain_words(
    story: Story, wire: Wire
) -> None:
    patient = await regular(story)
    for number in (1, 2, 3):
        effective = await story.renewed(patient.caller, patient, DOCTOR, PHARMACISTS)
        assert (effective.number, effective.remaining) == (number, 3 - number)
        assert effective.doctor_id == DOCTOR.id and effective.pharmacist_id == PHARMACISTS.id
    for template in ("refill.requested", "refill.approved", "refill.effective"):
        message = await wire.told(patient.caller, template, count=3)
    assert effective.valid_on is not None and str(effective.valid_on) in message["body"]
    assert "氨氯地平" not in f"{message['title']}{message['body']}", "no medicine on a lock screen"

    chinese = await story.asks(
        patient.caller, patient, expect=422, headers={"Accept-Language": "zh-CN"}
    )
    english = await story.asks(
        patient.caller, patient, expect=422, headers={"Accept-Language": "en"}
    )

    assert chinese["reason"] == english["reason"] == "renewal_limit_reached"
    assert "3 次" in chinese["detail"] and "3 times" in english["detail"]
    assert chinese["type"].endswith("/renewal_limit_reached") and chinese["status"] == 422
    told = await wire.hears(RefillRefused, refill_id=chinese["refill_id"])
    assert told.reason == "renewal_limit_reached"
    stored = await wire.get(patient.caller, "prescriptions", f"/v1/refills/{chinese['refill_id']}")
    assert (stored["status"], stored["reason"]) == ("refused", "renewal_limit_reached")
    await wire.told(patient.caller, "refill.refused")


async def test_a_visit_in_person_resets_the_count_and_nothing_else_does(
    story: Story, wire: Wire
) -> None:
    patient = await regular(story)
    before = story.now()
    for _ in range(3):
        effective = await story.renewed(patient.caller, patient, DOCTOR, PHARMACISTS)
    own = prescription(
        patient,
        story.now(),
        prescription_id=effective.new_prescription_id,
        based_on=f"rx-{patient.id}",
        refill_id=effective.refill_id,
    )
    others = [
        visit(patient, story.new_id("v"), before),  # told late, took place before them all
        visit(patient, story.new_id("v"), story.now(), visit_class=VisitClass.VIRTUAL),
        visit(patient, story.new_id("v"), story.now(), visit_class=VisitClass.EMERGENCY),
        visit(patient, story.new_id("v"), story.now(), "NEURO"),
    ]
    await wire.publish(own, *others)
    found = await story.may_ask(patient.caller, patient, count=2)
    assert {(r["reason"], r["renewals_left"]) for r in found} == {("renewal_limit_reached", 0)}
    await story.asks(patient.caller, patient, expect=422)

    last = visit(patient, story.new_id("v"), story.now())
    await wire.publish(last)

    async def may_again() -> bool:
        return all(r["renewable"] for r in await story.may_ask(patient.caller, patient, count=2))

    async def may_not() -> bool:
        found = await story.may_ask(patient.caller, patient, count=2)
        return {r["renewals_left"] for r in found} == {0}

    await eventually("the visit counts", may_again)
    asked = await story.asks(patient.caller, patient)
    assert asked["number"] == 1

    await wire.publish(
        VisitCancelled(visit_id=last.visit_id, patient_id=patient.id, cancelled_at=story.now())
    )
    await eventually("the visit was a mistake", may_not)
    no = await story.decides(DOCTOR, asked["id"], "approve", expect=422)
    assert no["reason"] == "renewal_limit_reached"


async def test_64_requests_at_once_never_give_more_than_three(story: Story, wire: Wire) -> None:
    patient = await regular(story)

    async def ask() -> tuple[int, str]:
        body = request(patient)
        answer = await wire.call(
            patient.caller, "POST", "prescriptions", "/v1/refills", body=body, expect=None
        )
        found = answer.json()
        return answer.status_code, found.get("reason") or found["id"]

    for _ in range(3):
        answers = await asyncio.gather(*(ask() for _ in range(64)))
        (accepted,) = [id for status, id in answers if status == 201]
        assert Counter(a for a in answers if a[0] != 201) == {(422, "open_request"): 63}
        await story.decides(DOCTOR, accepted, "approve")
        await story.decides(PHARMACISTS, accepted, "pass")
    answers = await asyncio.gather(*(ask() for _ in range(64)))

    assert Counter(answers) == {(422, "renewal_limit_reached"): 64}
    await wire.hears(RefillRefused, patient_id=patient.id, reason="renewal_limit_reached")
    effective = wire.heard(RefillEffective, patient_id=patient.id)
    assert [getattr(e.data, "number", 0) for e in effective] == [1, 2, 3]


async def test_a_repeated_request_is_answered_once_more_and_another_body_refused(
    story: Story, wire: Wire
) -> None:
    patient = await regular(story)
    key = {"Idempotency-Key": story.new_id("key")}
    first = await story.asks(patient.caller, patient, headers=key)

    assert await story.asks(patient.caller, patient, headers=key) == first
    problem = await story.asks(patient.caller, patient, "rx-another", 422, key)

    assert problem["reason"] == "idempotency_key_reused"
    await wire.hears(RefillRequested, refill_id=first["id"])
    assert len(wire.heard(RefillRequested, patient_id=patient.id)) == 1


async def test_a_decision_needs_the_version_that_was_read(story: Story, wire: Wire) -> None:
    patient = await regular(story)
    asked = await story.asks(patient.caller, patient)
    path = f"/v1/refills/{asked['id']}"
    read = await wire.call(DOCTOR, "GET", "prescriptions", path)
    decision = {"decision": "approve"}

    async def decide(expect: int, **headers: str) -> Any:
        return await wire.post(
            DOCTOR, "prescriptions", f"{path}/doctor-decision", decision, expect, headers
        )

    assert (await decide(428))["reason"] == "if_match_missing"
    stale = {"If-Match": '"999"'}
    assert (await decide(412, **stale))["reason"] == "changed"
    current = {"If-Match": read.headers["etag"]}
    assert (await decide(200, **current))["status"] == "waiting_pharmacist"
    assert (await decide(412, **current))["reason"] == "changed"
    assert (await story.decides(DOCTOR, asked["id"], "approve", 409))["reason"] == "wrong_status"


async def test_only_doctors_of_the_department_and_only_another_pharmacist_decide(
    story: Story, wire: Wire
) -> None:
    patient = await regular(story)
    asked = await story.asks(patient.caller, patient)

    await story.decides(OTHER_DOCTOR, asked["id"], "approve", 404)
    waiting = await wire.items(OTHER_DOCTOR, "prescriptions", "/v1/work-lists/doctor")
    assert asked["id"] not in [r["id"] for r in waiting]
    await story.decides(PHARMACISTS, asked["id"], "pass", 404)
    await story.decides(DOCTOR, asked["id"], "approve")
    both = type(DOCTOR)(DOCTOR.id, ("pharmacist",))
    problem = await story.decides(both, asked["id"], "pass", 422)

    assert problem["reason"] == "separation_of_duties" and problem["detail"]


async def test_whoever_says_no_says_why(story: Story, wire: Wire) -> None:
    patient = await regular(story)
    asked = await story.asks(patient.caller, patient)

    problem = await story.decides(DOCTOR, asked["id"], "decline", 422)
    assert problem["reason"] == "reason_missing" and problem["detail"]
    declined = await story.decides(DOCTOR, asked["id"], "decline", reason="condition_changed")

    assert (declined["status"], declined["reason"]) == ("declined", "condition_changed")
    await wire.told(patient.caller, "refill.declined")


async def test_a_pharmacist_returns_it_to_the_same_doctor(story: Story, wire: Wire) -> None:
    patient = await regular(story)
    asked = await story.asks(patient.caller, patient)
    await story.decides(DOCTOR, asked["id"], "approve")

    await story.decides(PHARMACISTS, asked["id"], "return", reason="dose", comment="剂量请核对")

    await wire.told(patient.caller, "refill.returned")
    colleague = type(DOCTOR)("d-9999", ("doctor",), DOCTOR.departments)
    problem = await story.decides(colleague, asked["id"], "approve", 422)
    assert problem["reason"] == "not_the_signing_doctor"
    await story.decides(DOCTOR, asked["id"], "approve")
    done = await story.decides(PHARMACISTS, asked["id"], "pass")
    assert done["status"] == "effective"
    read = await wire.get(patient.caller, "prescriptions", f"/v1/refills/{asked['id']}")
    actions = [s["action"] for s in read["history"]]
    assert actions == ["request", "approve", "return", "approve", "pass"]


async def test_a_cancelled_request_gives_its_place_back(story: Story, wire: Wire) -> None:
    patient, stranger = await regular(story), await story.adult()
    asked = await story.asks(patient.caller, patient)
    path = f"/v1/refills/{asked['id']}/cancel"

    await wire.post(stranger.caller, "prescriptions", path, expect=404)
    await wire.post(patient.caller, "prescriptions", path)

    await wire.hears(RefillCancelled, refill_id=asked["id"])
    assert (await story.asks(patient.caller, patient))["number"] == 1


ALPRAZOLAM = Medication(code="N05BA12", name="阿普唑仑片", ingredient_code="N05BA12")
OMEPRAZOLE = Medication(code="A02BC01", name="奥美拉唑肠溶片", ingredient_code="A02BC01")


@pytest.mark.parametrize(
    ("reason", "days", "medication", "here"),
    [
        ("other_hospital", 60, AMLODIPINE, False),
        ("too_old", 200, AMLODIPINE, True),
        ("never_class", 60, ALPRAZOLAM, True),
        ("not_on_list", 60, OMEPRAZOLE, True),
    ],
)
async def test_what_may_not_be_renewed_is_refused_with_its_reason(
    story: Story, wire: Wire, reason: str, days: int, medication: Medication, here: bool
) -> None:
    patient = await story.adult(age=50)
    at = story.ago(days=days)
    await wire.publish(prescription(patient, at, "CARDIO", medication, authored_here=here))
    (shown,) = await story.may_ask(patient.caller, patient)
    assert (shown["renewable"], shown["reason"]) == (False, reason)

    problem = await story.asks(patient.caller, patient, expect=422)

    assert problem["reason"] == reason and problem["detail"] == shown["explanation"]
    await wire.hears(RefillRefused, refill_id=problem["refill_id"], reason=reason)


async def test_a_stopped_prescription_is_not_renewed(story: Story, wire: Wire) -> None:
    patient = await regular(story)
    await wire.publish(
        PrescriptionStopped(
            prescription_id=f"rx-{patient.id}", patient_id=patient.id, stopped_at=story.now()
        )
    )

    async def stopped() -> bool:
        (shown,) = await story.may_ask(patient.caller, patient)
        return bool(shown["reason"] == "prescription_stopped")

    await eventually("the stop has arrived", stopped)
    assert (await story.asks(patient.caller, patient, expect=422))["detail"]


async def test_a_guardian_asks_for_a_child_and_a_stranger_cannot(story: Story, wire: Wire) -> None:
    child, stranger = await story.child("mother", age=9), await story.adult()
    ((_, mother),) = child.guardians
    await wire.publish(prescription(child, story.ago(days=60), "PED-NEPH"))
    await story.may_ask(mother.caller, child)

    assert (await story.asks(child.caller, child, expect=422))["reason"] == "guardian_needed"
    await story.asks(stranger.caller, child, expect=404)
    asked = await story.asks(mother.caller, child)

    told = await wire.hears(RefillRequested, refill_id=asked["id"])
    assert (told.patient_id, told.requested_by) == (child.id, mother.id)
    await wire.told(mother.caller, "refill.requested", patient_id=child.id)
    await wire.get(stranger.caller, "prescriptions", f"/v1/refills/{asked['id']}", expect=404)
