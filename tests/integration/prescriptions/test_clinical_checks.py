"""What do patient, doctor and pharmacist meet when a renewal is checked?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from libs.common import metrics
from services.prescriptions.senders.rule_engine import RuleEngine
from tests.integration.prescriptions.engine import Engine, alert, having, serving
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.integration.prescriptions.replicas import Replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGLISH = {"Accept-Language": "en"}


@pytest_asyncio.fixture(loop_scope="module")
async def engine(service: Replicas) -> AsyncIterator[Engine]:
    """The service with the hospital's rule engine in place of the local set."""
    engine = Engine()
    async with serving(engine) as url:
        settings = service.apps[0].state.runtime.settings.model_copy(
            update={"clinical_url": url, "clinical_timeout": 0.5}
        )
        before = [app.state.adapters.checker for app in service.apps]
        for app in service.apps:
            app.state.adapters.checker = RuleEngine(settings)
        yield engine
        for app, checker in zip(service.apps, before, strict=True):
            app.state.adapters.checker = checker


async def seen(caller: Any, refill: dict[str, Any]) -> dict[str, Any]:
    answer = await caller.get(f"/v1/refills/{refill['id']}", headers=ENGLISH)
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "version": int(answer.headers["ETag"].strip('"'))}


async def test_an_alert_is_acknowledged_by_the_doctor_and_then_by_the_pharmacist(
    hospital: Hospital, engine: Engine
) -> None:
    await hospital.prescribe()
    doctor, pharmacist = hospital.doctor(), hospital.pharmacist(replica=1)
    engine.findings = [alert("major", "ddi-1")]
    refill = await hospital.asked()
    item = await seen(doctor, refill)
    [warning] = [c for c in item["clinical_checks"]["checks"] if c["verdict"] == "alert"]
    assert (warning["id"], warning["severity"]) == ("ddi-1", "major")
    assert warning["text"] == "Better not together."

    no = await decide(doctor, item, "approve")
    assert (no.status_code, no.json()["reason"]) == (422, "alerts_not_acknowledged")
    assert no.json()["alerts"] == [{"id": "ddi-1", "severity": "major"}]
    yes = await decide(doctor, item, "approve", acknowledged={"ddi-1": "potassium is watched"})
    assert (yes.status_code, yes.json()["status"]) == (200, "waiting_pharmacist")

    item = await seen(pharmacist, refill)
    assert item["history"][-1]["acknowledged"] == [
        {"alert": "ddi-1", "reason": "potassium is watched"}
    ]
    no = await review(pharmacist, item, "pass")
    assert (no.status_code, no.json()["reason"]) == (422, "alerts_not_acknowledged")
    yes = await review(pharmacist, item, "pass", acknowledged={"ddi-1": "agreed"})
    assert (yes.status_code, yes.json()["status"]) == (200, "effective")
    assert len(engine.asked) == 5  # at the request, and twice at each decision
    assert len({a["id"] for a in engine.asked}) == 5

    own = await seen(hospital.patient(), refill)
    assert own["clinical_checks"] is None
    assert [(s["clinical_checks"], s["acknowledged"]) for s in own["history"]] == [(None, [])] * 3
    assert "ddi-1" not in str(own) and "potassium" not in str(own)


async def test_what_is_contraindicated_refuses_the_request_in_plain_words(
    hospital: Hospital, engine: Engine
) -> None:
    await hospital.prescribe()
    engine.findings = [alert("contraindicated", "ddi-9")]
    no = await ask(hospital.patient(), headers=ENGLISH)
    assert (no.status_code, no.json()["reason"]) == (422, "clinical_contraindication")
    assert no.json()["detail"].startswith("For your safety a doctor has to see you")
    assert "ddi-9" not in no.text and "together" not in no.text
    own = await seen(hospital.patient(), {"id": no.json()["refill_id"]})
    assert own["status"] == "refused"
    assert "ddi-9" not in str(own) and "together" not in str(own)


async def test_what_is_contraindicated_later_stops_the_step_and_not_the_renewal(
    hospital: Hospital, engine: Engine
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    engine.findings = [alert("contraindicated", "ddi-9")]
    no = await decide(hospital.doctor(), refill, "approve", acknowledged={"ddi-9": "so what"})
    assert (no.status_code, no.json()["reason"]) == (422, "clinical_contraindication")
    item = await seen(hospital.doctor(), refill)
    assert item["status"] == "waiting_doctor"
    assert item["clinical_checks"]["checks"][0]["id"] == "ddi-9"
    stale = await decide(hospital.doctor(), refill, "decline", reason="not_appropriate")
    assert stale.status_code == 412  # who goes on has read what was found
    done = await decide(hospital.doctor(), item, "decline", reason="not_appropriate")
    assert done.json()["status"] == "declined"


@pytest.mark.parametrize("fault", [{"delay": 1.0}, {"status": 500}, {"raw": b"<html>"}])
async def test_an_engine_that_does_not_answer_has_not_checked_and_both_see_it(
    hospital: Hospital, engine: Engine, fault: dict[str, Any]
) -> None:
    await hospital.prescribe()
    labels = {"engine": "hospital", "verdict": "not_checked"}
    before = metrics.REGISTRY.get_sample_value("clinical_checks_total", labels) or 0
    with having(engine, **fault):
        refill = await hospital.asked()
        item = await seen(hospital.doctor(), refill)
        assert {c["verdict"] for c in item["clinical_checks"]["checks"]} == {"not_checked"}
        rules = {o["rule"]: o for o in item["history"][-1]["outcomes"]}
        assert rules["clinical_checks"]["verdict"] == "not_checked"
        approved = await decide(hospital.doctor(), item, "approve")
        assert approved.status_code == 200, approved.text
        item = await seen(hospital.pharmacist(), refill)
        assert {c["why"] for c in item["clinical_checks"]["checks"]} <= {
            "unavailable",
            "unreadable",
        }
        passed = await review(hospital.pharmacist(), item, "pass")
        assert passed.json()["status"] == "effective"
    assert len(engine.asked) == 3
    after = metrics.REGISTRY.get_sample_value("clinical_checks_total", labels)
    assert after == before + 3 * 6


@pytest.mark.parametrize("name", ["checked", "checks", "acknowledged"])
async def test_a_client_that_sends_results_itself_is_refused(
    hospital: Hospital, engine: Engine, name: str
) -> None:
    await hospital.prescribe()
    forged: dict[str, Any] = {name: {"question": {}, "checks": {"checks": []}}}
    no = await ask(hospital.patient(), **forged)
    assert (no.status_code, no.json()["reason"]) == (422, "invalid_request")
    assert no.json()["errors"][0]["field"] == f"/{name}"
    refill = await hospital.asked()
    for answer in (
        await decide(hospital.doctor(), refill, "approve", **forged),
        await decide(hospital.doctor(), refill, "approve", signed={"text": ""}),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_request")
    [row] = await hospital.service.rows("refills", hospital.id)
    assert row["status"] == "waiting_doctor"


async def test_a_repeated_request_is_not_checked_again(hospital: Hospital, engine: Engine) -> None:
    await hospital.prescribe()
    first = await ask(hospital.patient(), key="k-1")
    again = await ask(hospital.patient(), key="k-1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(engine.asked) == 1


async def test_without_an_engine_the_local_set_checks(hospital: Hospital) -> None:
    tablets: dict[str, Any] = {"quantity": {"value": 28, "unit": "片"}, "days_supply": 28}
    await hospital.prescribe("rx1", code="C09AA02", ingredient="enalapril", **tablets)
    await hospital.prescribe(
        "rx2", code="C09CA01", ingredient="losartan", department="nephrology", days_ago=5, **tablets
    )
    refill = await hospital.asked()
    item = await seen(hospital.doctor(), refill)
    assert (item["clinical_checks"]["engine"], item["clinical_checks"]["version"]) == (
        "local",
        "clinical-2026-01-01",
    )
    assert item["clinical_checks"]["checks"][0]["id"] == "raas-dual:C09CA01:losartan"
    told = {"raas-dual:C09CA01:losartan": "changed over this week"}
    approved = await decide(
        hospital.doctor(), item, "approve", acknowledged=told, comment="stable for years"
    )
    assert approved.status_code == 200, approved.text
    passed = await review(hospital.pharmacist(), approved.json(), "pass", acknowledged=told)
    assert passed.json()["status"] == "effective"
