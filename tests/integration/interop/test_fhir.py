"""Does what FHIR's clients post reach Kafka, once, and are they answered as FHIR has it?"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml

from libs.common import logs
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.events import (
    EncounterDischarged,
    GuardianLinked,
    PatientRegistered,
    PrescriptionIssued,
    ReportReady,
    VisitCompleted,
)
from services.interop.main import SPEC
from tests.support.running import Running, running

CORPUS = ROOT / "tests/data/fhir"
FHIR = "application/fhir+json"
TOPICS = (
    "clinical",
    "encounters",
    "exams",
    "patients",
    "prescriptions",
    "reports",
    "staff",
)


@pytest.fixture
async def interop(stack: Stack, tmp_path: Any) -> AsyncIterator[Running]:
    logs.configure("interop", level="WARNING")
    hospital = f"h{uuid.uuid4().hex[:8]}"
    policies = tmp_path / "policies"
    policies.mkdir()
    for part in ("senders", "persons"):
        (policies / part).symlink_to(ROOT / "policies" / part)
    (policies / "partners").mkdir()
    for client, topics in (("ehr", TOPICS), ("lis", ["reports"])):
        partner = {
            "client": client,
            "hospital": hospital,
            "name": client,
            "publishes": [f"hospital.{topic}" for topic in topics],
        }
        (policies / "partners" / f"{client}.yaml").write_text(yaml.safe_dump(partner))
    async with running(stack, SPEC, mllp_port=0, policies_dir=policies) as service:
        service.hospital = hospital
        yield service


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CORPUS / f"{name}.json").read_text())
    return found


def client(service: Running, person: str = "ehr") -> httpx.AsyncClient:
    return service.client("integration", person=person)


async def post(service: Running, body: Any, path: str = "/fhir", **more: Any) -> httpx.Response:
    headers = {"Content-Type": FHIR, **more.pop("headers", {})}
    async with client(service, **more) as ehr:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return await ehr.post(path, content=content, headers=headers)


async def test_a_stay_in_a_transaction_reaches_every_reader(interop: Running) -> None:
    answer = await post(interop, sample("transaction-stay"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == FHIR
    told = answer.json()
    assert told["type"] == "transaction-response"
    assert [e["response"]["status"] for e in told["entry"]] == ["201"] * 12 + ["200"]
    (discharged,) = await interop.published(EncounterDischarged)
    assert (discharged.encounter_id, discharged.patient_id) == ("FV-2001", "F1001")
    assert discharged.department.code == "0401"
    assert [d.code for d in discharged.diagnoses] == ["N04.9"]
    assert [g.name for g in discharged.guardians] == ["样例·丁"]
    (report,) = await interop.published(ReportReady)
    assert [o.value for o in report.observations] == [1.8, 31]
    for model in (PatientRegistered, GuardianLinked, PrescriptionIssued, VisitCompleted):
        assert await interop.published(model)
    (kept,) = await interop.rows("messages")
    assert (kept["format"], kept["standing"], kept["sender"]) == ("fhir", "accepted", "ehr")
