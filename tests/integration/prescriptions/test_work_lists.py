"""What do doctors and pharmacists see: lines to choose by, and all the facts on one answer?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common import metrics
from tests.integration.prescriptions.given import Hospital, decide, review
from tests.unit.prescriptions.test_around import recalled, released
from tests.unit.prescriptions.test_stable import condition

pytestmark = pytest.mark.asyncio(loop_scope="module")


def queries() -> float:
    return sum(
        s.value
        for m in metrics.MONGO_COMMANDS.collect()
        for s in m.samples
        if s.name.endswith("_total") and s.labels["command"] in ("find", "getMore", "aggregate")
    )


async def test_one_answer_holds_what_a_decision_needs_and_its_reads_are_recorded(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    await hospital.prescribe("m1", ingredient="metformin", days_ago=20)
    now = hospital.service.clock.now()
    await hospital.tell(
        released(now - timedelta(hours=3), "report-1"),
        released(now - timedelta(hours=2), "report-2"),
        released(now - timedelta(days=300), "report-3"),
        recalled(now - timedelta(hours=1), "report-2"),
        released(now - timedelta(hours=1), "report-9", patient="p9"),
        condition(now - timedelta(days=40), "c1", "I10", display="hypertension"),
    )
    await hospital.settled("result", 4)
    await hospital.settled("result_recalled")
    await hospital.settled("condition")
    first = await hospital.renewed()
    asked = await hospital.asked()
    seen = await hospital.doctor(replica=1).get(f"/v1/refills/{asked['id']}")
    view = seen.json()
    assert (seen.status_code, view["version"]) == (200, asked["version"])
    assert [(r["report_id"], r["recalled"]) for r in view["results"]] == [
        ("report-2", True),
        ("report-1", False),
    ]
    assert view["results"][1]["path"] == "/v1/reports/report-1"
    assert [(e["id"], e["number"]) for e in view["earlier"]] == [(first["id"], 1)]
    assert [m["prescription_id"] for m in view["medicines"]] == ["m1"]
    assert [c["display"] for c in view["conditions"]] == ["hypertension"]
    assert view["allergies"] is None
    assert view["last_visit"]["department_code"] == "cardiology"
    assert (view["renewals_used"], view["renewals_left"]) == (1, 2)
    assert {c["verdict"] for c in view["checks"]} == {"passed", "not_checked"}
    own = (await hospital.patient().get(f"/v1/refills/{asked['id']}")).json()
    assert not {"results", "conditions", "medicines", "earlier"} & own.keys()

    reads = await hospital.service.rows("audit", hospital.id)
    read = {(r["entity"]["type"], id) for r in reads for id in r["entity"]["what"]
            if r["agent"]["who"] == "dr1"}  # fmt: skip
    assert read == {
        ("MedicationRequest", asked["id"]),
        ("MedicationRequest", first["id"]),
        ("MedicationRequest", "m1"),
        ("Condition", "c1"),
        ("DiagnosticReport", "report-1"),
        ("DiagnosticReport", "report-2"),
    }


async def test_the_number_of_queries_does_not_grow_with_what_there_is(hospital: Hospital) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    doctor, path = hospital.doctor(), f"/v1/refills/{asked['id']}"

    async def cost() -> float:
        before = queries()
        assert (await doctor.get(path)).status_code == 200
        return queries() - before

    async def least() -> float:  # relay, timers and consumer ask now and then, too
        return min([await cost() for _ in range(8)])

    little = await least()
    await hospital.prescribe(*(f"m{n}" for n in range(12)), ingredient="metformin")
    now = hospital.service.clock.now()
    await hospital.tell(*(released(now, f"report-{n}") for n in range(12)))
    await hospital.tell(*(condition(now, f"c{n}", f"I{10 + n}") for n in range(12)))
    await hospital.settled("result", 12)
    await hospital.settled("condition", 12)
    assert await least() == little <= 10


async def test_a_line_of_a_list_is_light_and_what_it_leaves_out_is_read_by_its_id(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    asked = await hospital.asked()
    approved = (await decide(hospital.doctor(), asked, "approve")).json()
    answer = await hospital.pharmacist().get("/v1/work-lists/pharmacist")
    [line] = answer.json()["items"]
    assert (line["id"], line["version"], line["doctor_id"]) == (
        asked["id"],
        approved["version"],
        "dr1",
    )
    assert line["medication"]["ingredient_code"] == "amlodipine"
    assert not {"history", "declaration", "dosage", "forms", "order"} & line.keys()
    assert len(answer.content) < 1500
    whole = await hospital.pharmacist().get(f"/v1/refills/{line['id']}")
    assert len(whole.json()["history"]) == 2


async def test_the_counts_say_what_the_lists_show(hospital: Hospital) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", patient="p2")
    await hospital.prescribe("rx3", patient="p3", department="surgery", prescriber_id="dr7")

    async def counted(caller: httpx.AsyncClient) -> dict[str, Any]:
        answer = await caller.get("/v1/work-lists/counts")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    doctor, both = hospital.doctor(), hospital.caller("b", "doctor", "pharmacist")
    assert (await counted(doctor))["doctor"]["oldest_waiting_seconds"] is None
    one = await hospital.asked("rx1")
    two = await hospital.asked("rx2", "p2")
    await hospital.asked("rx3", "p3")
    claimed = await doctor.post(
        f"/v1/refills/{one['id']}/claim", headers={"If-Match": f'"{one["version"]}"'}
    )
    assert claimed.status_code == 200
    found = await counted(doctor)
    assert found["pharmacist"] is None
    assert (found["doctor"]["waiting"], found["doctor"]["mine"], found["doctor"]["pool"]) == (
        2,
        1,
        1,
    )
    assert 0 <= found["doctor"]["oldest_waiting_seconds"] < 60
    colleague = (await counted(hospital.doctor("dr2")))["doctor"]
    assert (colleague["waiting"], colleague["mine"], colleague["pool"]) == (2, 0, 1)
    approved = (await decide(doctor, two, "approve")).json()
    assert (await counted(hospital.pharmacist()))["pharmacist"]["waiting"] == 1
    returned = await review(hospital.pharmacist(), approved, "return", reason="dose")
    assert returned.status_code == 200
    found = (await counted(doctor))["doctor"]
    assert (found["waiting"], found["mine"], found["returned"]) == (2, 2, 1)
    assert await counted(both) == {
        "doctor": dict.fromkeys(found, 0) | {"oldest_waiting_seconds": None, "more": False},
        "pharmacist": dict.fromkeys(found, 0) | {"oldest_waiting_seconds": None, "more": False},
    }
