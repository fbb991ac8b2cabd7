"""Does what a hospital tells stop a renewal at once, on the real broker and database?"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pypdfium2
import pytest

from libs.common.events import (
    AllergyRecorded,
    EncounterAdmitted,
    NotificationRequested,
    PractitionerLeft,
    Quantity,
    RefillLapsed,
    RefillSuspended,
    VerificationStatus,
)
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.integration.prescriptions.test_fulfilment import report
from tests.integration.prescriptions.test_signatures import by_code, stored
from tests.support.toy import eventually
from tests.unit.prescriptions.given import deceased, merged

pytestmark = pytest.mark.asyncio(loop_scope="module")


def allergy(hospital: Hospital, patient: str = "p1", **more: Any) -> AllergyRecorded:
    return AllergyRecorded(
        allergy_id="a1",
        patient_id=patient,
        code="C08CA01",
        system="ATC",
        display="氨氯地平",
        recorded_at=hospital.service.clock.now(),
        **more,
    )


async def becomes(hospital: Hospital, refill: Mapping[str, Any], status: str) -> None:
    async def so() -> bool:
        rows = await hospital.service.rows("refills", hospital.id)
        return (refill["id"], status) in {(r["id"], r["status"]) for r in rows}

    await eventually(so)


async def lists(hospital: Hospital, doctor: str, whose: str) -> list[tuple[str, str]]:
    answer = await hospital.doctor(doctor).get("/v1/work-lists/doctor", params={"whose": whose})
    return [(r["id"], r["status"]) for r in answer.json()["items"]]


async def test_an_allergy_brings_an_approved_renewal_back_to_the_doctor_who_signed_it(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    approved = (await decide(hospital.doctor("dr2"), refill, "approve")).json()
    await hospital.tell(allergy(hospital))
    await becomes(hospital, refill, "suspended")
    # Who still looks at what was approved is told that it changed.
    assert (await review(hospital.pharmacist(), approved, "pass")).status_code == 412
    assert await lists(hospital, "dr2", "mine") == [(refill["id"], "suspended")]
    assert await lists(hospital, "dr1", "pool") == []
    waiting = await hospital.pharmacist().get("/v1/work-lists/pharmacist")
    assert waiting.json()["items"] == []
    path = f"/v1/refills/{refill['id']}"
    seen = (await hospital.doctor("dr2").get(path)).json()
    again = await decide(hospital.doctor("dr2"), seen, "approve")
    assert (again.status_code, again.json()["reason"]) == (422, "allergy_recorded")
    assert "过敏" in again.json()["detail"]
    # It was of another patient.
    await hospital.tell(allergy(hospital, verification_status=VerificationStatus.ENTERED_IN_ERROR))
    await hospital.settled("allergy", 2)
    again = await decide(hospital.doctor("dr2"), seen, "approve")
    assert again.status_code == 200, again.text
    passed = await review(hospital.pharmacist(), again.json(), "pass")
    assert (passed.status_code, passed.json()["status"]) == (200, "effective")
    events = await hospital.published(12)
    [fact] = [e.data for e in events if isinstance(e.data, RefillSuspended)]
    assert (fact.reason, fact.new_prescription_id) == ("allergy_recorded", None)
    told = [e.data for e in events if isinstance(e.data, NotificationRequested)]
    stopped = ("refill.suspended", "refill.to_look_at")
    assert {(t.recipient_id, t.template) for t in told if t.template in stopped} == {
        ("p1", "refill.suspended"),
        ("dr2", "refill.to_look_at"),
    }


async def test_an_admission_voids_what_is_in_effect_for_everyone_who_verifies_it(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    before = (await by_code(hospital, refill, form["digest"])).json()
    assert before["standing"]["dispensable"] is True
    admission = EncounterAdmitted(
        encounter_id="s1", patient_id="p1", admitted_at=hospital.service.clock.now()
    )
    await hospital.tell(admission, admission)
    await becomes(hospital, refill, "withheld")
    found = (await by_code(hospital, refill, form["digest"])).json()
    assert found["valid"] is True  # the signatures are what they were
    standing = found["standing"]
    assert (standing["status"], standing["dispensable"]) == ("withheld", False)
    paper = await hospital.patient().get(f"/v1/refills/{refill['id']}/prescription.pdf")
    document = pypdfium2.PdfDocument(paper.content)
    assert "作废" in document[0].get_textpage().get_text_range()
    document.close()
    [event] = [
        e.data
        for e in await hospital.service.published(
            hospital.id,
            ["prescriptions.events"],
            lambda found: any(isinstance(e.data, RefillSuspended) for e in found),
        )
        if isinstance(e.data, RefillSuspended)
    ]
    assert event.new_prescription_id == refill["new_prescription_id"]
    [account] = await hospital.service.rows("renewal_accounts", hospital.id)
    assert (account["watched"], account["renewals"][0]["supplied"]) == ([], False)
    no = await ask(hospital.patient())
    assert (no.status_code, no.json()["reason"]) == (422, "condition_changed")


async def test_what_lies_ready_is_void_for_the_patient_the_pharmacy_and_everyone_who_verifies_it(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    [form] = await stored(hospital, refill)
    few = Quantity(value=3, unit="tablet")
    await hospital.tell(report(hospital, refill, "dispensed", quantity=few))
    await becomes(hospital, refill, "dispensed")
    standing = (await by_code(hospital, refill, form["digest"])).json()["standing"]
    assert (standing["status"], standing["in_part"]) == ("dispensed", True)
    await hospital.tell(allergy(hospital))
    await becomes(hospital, refill, "withheld")
    await hospital.tell(report(hospital, refill, "collected"))  # all the same
    await becomes(hospital, refill, "collected")
    standing = (await by_code(hospital, refill, form["digest"])).json()["standing"]
    assert (standing["status"], standing["dispensable"]) == ("withheld", False)
    seen = (await hospital.patient().get(f"/v1/refills/{refill['id']}")).json()
    assert seen["irregular"] == ["withheld"] and "咨询医生" in seen["reason_text"]


async def test_who_has_it_already_is_told_and_reads_why(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    await hospital.tell(report(hospital, refill, "collected"))
    await becomes(hospital, refill, "collected")
    await hospital.tell(allergy(hospital))
    await hospital.settled("allergy")
    seen = (await hospital.patient().get(f"/v1/refills/{refill['id']}")).json()
    assert (seen["status"], seen["reason"]) == ("collected", "allergy_recorded")
    assert seen["history"][-1]["action"] == "warn"
    assert "过敏" in seen["reason_text"]
    [push] = [
        e.data
        for e in await hospital.service.published(
            hospital.id,
            ["notify.requests"],
            lambda found: any("refill.ask_first" in str(e.data) for e in found),
        )
        if isinstance(e.data, NotificationRequested) and e.data.template == "refill.ask_first"
    ]
    assert (push.recipient_id, push.parameters) == ("p1", {})


async def test_what_is_told_of_either_record_stops_the_renewal_in_one_poll_with_the_merge(
    hospital: Hospital,
) -> None:
    await hospital.prescribe("rx1", "rx2")
    await hospital.prescribe("rx3", patient="p2", ingredient="another")
    refill = await hospital.renewed("rx1")
    waiting = await hospital.asked("rx3", "p2")
    now = hospital.service.clock.now()
    await hospital.tell(merged("p1", "p2", now), allergy(hospital, "p1"), deceased("p1", now))
    await becomes(hospital, refill, "withheld")
    await becomes(hospital, waiting, "refused")


async def test_a_doctor_who_leaves_hands_back_what_was_returned(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    approved = (await decide(hospital.doctor("dr1"), refill, "approve")).json()
    returned = (await review(hospital.pharmacist(), approved, "return", reason="dose")).json()
    assert await lists(hospital, "dr2", "pool") == []
    left = PractitionerLeft(practitioner_id="dr1", left_at=hospital.service.clock.now())
    await hospital.tell(left)
    await hospital.settled("practitioner_left")
    assert await lists(hospital, "dr2", "pool") == [(refill["id"], "returned")]
    seen = (await hospital.doctor("dr2").get(f"/v1/refills/{refill['id']}")).json()
    assert seen["version"] > returned["version"]
    no = await decide(hospital.doctor("dr1"), seen, "approve")
    assert (no.status_code, no.json()["reason"]) == (422, "practitioner_left")
    assert (await decide(hospital.doctor("dr2"), seen, "approve")).status_code == 200


async def test_what_nobody_collects_lapses_and_can_be_asked_for_again(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    clock = hospital.service.clock
    before, clock.ahead = clock.ahead, clock.ahead + timedelta(days=3)
    try:
        await becomes(hospital, refill, "lapsed")
        [form] = await stored(hospital, refill)
        standing = (await by_code(hospital, refill, form["digest"])).json()["standing"]
        assert (standing["status"], standing["dispensable"]) == ("lapsed", False)
        events = await hospital.service.published(
            hospital.id,
            ["prescriptions.events", "notify.requests"],
            lambda found: (
                any(
                    isinstance(e.data, NotificationRequested) and e.data.template == "refill.lapsed"
                    for e in found
                )
                and any(isinstance(e.data, RefillLapsed) for e in found)
            ),
        )
        [fact] = [e.data for e in events if isinstance(e.data, RefillLapsed)]
        assert fact.valid_on.isoformat() == refill["valid_on"]
        again = await ask(hospital.patient(), key=uuid.uuid4().hex)
        assert (again.status_code, again.json()["number"]) == (201, 2)
    finally:
        clock.ahead = before
