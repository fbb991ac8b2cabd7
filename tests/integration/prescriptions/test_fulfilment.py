"""Is a pharmacy found, chosen and told, and does it tell, on the real broker and database?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from libs.common.events import (
    FulfilmentStatus,
    FulfilmentUpdated,
    RefillCollected,
    RefillDispensed,
    RefillFulfilmentChosen,
)
from tests.integration.prescriptions.given import Hospital, decide, review
from tests.support.toy import eventually
from tests.unit.prescriptions.given import prescription

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOME: Mapping[str, Any] = {
    "method": "delivery",
    "pharmacy_id": "riverside",
    "address": "示例市示例路 8 号",
    "telephone": "+86 571 0000 0000",
}


async def choose(
    caller: httpx.AsyncClient, refill: Mapping[str, Any], **body: Any
) -> httpx.Response:
    return await caller.put(
        f"/v1/refills/{refill['id']}/fulfilment",
        json={"method": "pickup", "pharmacy_id": "riverside", **body},
        headers={"If-Match": f'"{refill["version"]}"'},
    )


def report(
    hospital: Hospital, refill: Mapping[str, Any], status: str, id: str = "d1", **more: Any
) -> FulfilmentUpdated:
    fields: dict[str, Any] = {
        "fulfilment_id": id,
        "prescription_id": refill["new_prescription_id"],
        "patient_id": "p1",
        "pharmacy_id": "riverside",
        "status": FulfilmentStatus(status),
        "occurred_at": hospital.service.clock.now(),
        **more,
    }
    return FulfilmentUpdated.model_validate(fields)


async def stands(hospital: Hospital, refill: Mapping[str, Any], status: str) -> None:
    async def so() -> bool:
        rows = await hospital.service.rows("refills", hospital.id)
        return any(r["id"] == refill["id"] and r["status"] == status for r in rows)

    await eventually(so)


async def test_the_nearest_pharmacy_is_found_chosen_and_dispenses(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    patient = hospital.patient()
    found = await patient.post(
        "/v1/pharmacies/search", json={"place": {"latitude": 30.002, "longitude": 120.58}}
    )
    assert found.status_code == 200, found.text
    items = found.json()["items"]
    assert [p["id"] for p in items] == ["riverside", "old-town", "night-market"]
    assert items[0]["distance"] < 100 and items[0]["delivers"]
    assert (items[1]["open"], items[1]["closes_at"]) == (True, None)  # day and night

    chosen = await choose(patient, refill)
    assert chosen.status_code == 200, chosen.text
    assert (await choose(patient, refill)).status_code == 412
    seen = (await patient.get(f"/v1/refills/{refill['id']}")).json()
    assert seen["fulfilment"]["pharmacy"]["name"] == "河畔示例药房"
    assert seen["valid_on"] == refill["valid_on"]

    await hospital.tell(report(hospital, refill, "dispensed"))
    await stands(hospital, refill, "dispensed")
    await hospital.tell(report(hospital, refill, "collected"))
    await stands(hospital, refill, "collected")
    late = await choose(patient, {"id": refill["id"], "version": seen["version"] + 2})
    assert late.status_code == 409
    events = await hospital.service.published(
        hospital.id,
        ["prescriptions.events", "notify.requests"],
        lambda all: any(isinstance(e.data, RefillCollected) for e in all),
    )
    facts = [e for e in events if e.subject == refill["id"]]
    assert [e.sequence for e in facts] == list(range(1, len(facts) + 1))
    assert [type(e.data) for e in facts[-3:]] == [
        RefillFulfilmentChosen,
        RefillDispensed,
        RefillCollected,
    ]


async def test_only_the_chosen_pharmacys_system_reads_the_address_and_it_is_recorded(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    pharmacy = hospital.caller("sample-partner", "integration")
    other = hospital.caller("another-pharmacy", "integration")
    address = f"/v1/refills/{asked['id']}/fulfilment"
    await choose(hospital.patient(), asked, **HOME)
    assert (await pharmacy.get(address)).status_code == 404  # not yet in effect
    current = (await hospital.patient().get(f"/v1/refills/{asked['id']}")).json()
    assert HOME["address"] not in str(current)

    approved = (await decide(hospital.doctor(), current, "approve")).json()
    refill = (await review(hospital.pharmacist(), approved, "pass")).json()
    read = await pharmacy.get(address)
    assert read.status_code == 200, read.text
    assert (read.json()["address"], read.json()["telephone"]) == (
        HOME["address"],
        HOME["telephone"],
    )
    text = await pharmacy.get(f"/v1/refills/{refill['id']}/prescription")
    assert (text.status_code, "document" in text.json()) == (200, True)
    for stranger in (other, hospital.patient("p9")):
        assert (await stranger.get(address)).status_code == 404
    assert (await other.get(f"/v1/refills/{refill['id']}/prescription")).status_code == 404
    assert (await pharmacy.get(f"/v1/refills/{refill['id']}")).status_code == 403
    assert (await hospital.doctor().get(address)).status_code == 403
    both = hospital.caller("dr1", "doctor", "patient", departments=["cardiology"])
    assert (await both.get(f"/v1/refills/{refill['id']}")).status_code == 200
    assert (await both.get(address)).status_code == 404  # as a patient it is not theirs
    assert (await hospital.pharmacist().get(address)).status_code == 200
    elsewhere = hospital.service.caller("sample-partner", "integration", hospital="another")
    assert (await elsewhere.get(address)).status_code == 404

    await choose(hospital.patient(), refill, pharmacy_id="old-town")
    assert (await pharmacy.get(address)).status_code == 404  # it is another's now
    reads = await hospital.service.rows("audit", hospital.id)
    by = [(r["agent"]["who"], r["outcome"]) for r in reads if r["agent"]["who"] == "sample-partner"]
    assert len(by) >= 3
    facts = await hospital.service.published(
        hospital.id,
        ["prescriptions.events", "notify.requests"],
        lambda all: any(isinstance(e.data, RefillFulfilmentChosen) for e in all),
    )
    assert all(HOME["address"] not in str(e.data) for e in facts)


async def test_bad_choices_name_the_field_and_the_remedy(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    patient = hospital.patient()
    unknown = await choose(patient, refill, pharmacy_id="nowhere")
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "unknown_pharmacy")
    assert "pharmacy_id" in unknown.json()["detail"]
    far = await choose(patient, refill, **{**HOME, "pharmacy_id": "old-town"})
    assert (far.status_code, far.json()["reason"]) == (422, "not_delivered_there")
    nowhere = await choose(patient, refill, method="delivery")
    assert nowhere.status_code == 422
    assert "address" in nowhere.text and "telephone" in nowhere.text
    stranger = await choose(hospital.patient("p9"), refill)
    assert stranger.status_code == 404


async def test_reports_of_four_parts_at_once_are_all_seen(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    await hospital.tell(*(report(hospital, refill, "dispensed", f"d{n}") for n in range(4)))
    await stands(hospital, refill, "dispensed")
    await asyncio.gather(
        *(hospital.tell(report(hospital, refill, "collected", f"d{n}")) for n in range(4))
    )
    await stands(hospital, refill, "collected")
    dispensings = (await hospital.patient().get(f"/v1/refills/{refill['id']}/fulfilment")).json()[
        "dispensings"
    ]
    assert [d["status"] for d in dispensings] == ["collected"] * 4


async def test_a_report_and_the_hospitals_own_prescription_at_one_moment_do_not_miss_each_other(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.renewed()
    now = hospital.service.clock.now()
    own = prescription("his-7", at=now, based_on="rx1", refill_id=refill["id"])
    await asyncio.gather(  # two topics: either may be read first
        hospital.tell(report(hospital, refill, "dispensed", prescription_id="his-7")),
        hospital.tell(own),
    )
    await stands(hospital, refill, "dispensed")
