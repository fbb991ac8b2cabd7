"""Does what FHIR's clients post reach Kafka, once, and are they answered as FHIR has it?"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml
from fhir.resources.R4B import get_fhir_model_class

from libs.common import logs
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.events import (
    EncounterDischarged,
    GuardianLinked,
    PatientRegistered,
    PrescriptionIssued,
    ReportReady,
    VisitCancelled,
    VisitCompleted,
)
from libs.common.http.problems import Problem
from services.interop.api import taking
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


async def test_the_same_bundle_again_is_answered_and_tells_nothing_twice(interop: Running) -> None:
    answers = [await post(interop, sample("transaction-stay")) for _ in range(2)]
    locations = [[e["response"].get("location") for e in a.json()["entry"]] for a in answers]
    assert [a.status_code for a in answers] == [200, 200]
    assert locations[0] == locations[1]
    (kept,) = await interop.rows("messages")
    assert len({id for _, id in kept["events"]}) == len(kept["events"]) > 5
    (body,) = await interop.rows("bodies")
    assert body["raw"] == json.dumps(sample("transaction-stay")).encode()


async def test_a_refused_bundle_leaves_its_journal_and_nothing_else(interop: Running) -> None:
    wrong = sample("transaction-stay")
    del wrong["entry"][5]["resource"]["period"]["end"]
    answer = await post(interop, wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == FHIR
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[5].resource.period.end"]
    assert await interop.rows("resources") == []
    assert await interop.rows("outbox") == []
    (kept,) = await interop.rows("messages")
    assert (kept["standing"], kept["events"]) == ("refused", [])


async def test_the_entries_of_a_batch_stand_alone_and_may_refer_to_earlier_ones(
    interop: Running,
) -> None:
    whole = sample("transaction-stay")
    patient, organization = whole["entry"][0], whole["entry"][2]
    visit: dict[str, Any] = {
        "resource": {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": {"reference": "Patient?identifier=https://lianxin.example/mrn|F1001"},
            "period": {"start": "2026-11-20T10:00:00+08:00"},
            "serviceProvider": {"identifier": {"value": "0401"}},
        },
        "request": {"method": "POST", "url": "Encounter"},
    }
    wrong = {**visit, "resource": {**visit["resource"], "status": "bogus"}}
    claim = {"resource": {"resourceType": "Claim"}, "request": {"method": "POST", "url": "Claim"}}
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [patient, organization, wrong, visit, claim],
    }
    answer = await post(interop, batch)
    assert answer.json()["type"] == "batch-response"
    statuses = [e["response"]["status"] for e in answer.json()["entry"]]
    assert statuses == ["201", "201", "422", "201", "200"]
    (seen,) = await interop.published(VisitCompleted)
    assert seen.patient_id == "F1001"
    assert len(await interop.rows("messages")) == 5


@pytest.mark.parametrize(
    ("status", "statuses"), [(500, ["201", "500", "200"]), (503, ["201", "503", "503"])]
)
async def test_what_fails_in_a_batch_costs_no_other_entry_its_answer(
    interop: Running, monkeypatch: pytest.MonkeyPatch, status: int, statuses: list[str]
) -> None:
    entry = sample("transaction-stay")["entry"][0]
    bad = {**entry, "resource": {**entry["resource"], "language": "bad"}}
    claim = {"resource": {"resourceType": "Claim"}, "request": {"method": "POST", "url": "Claim"}}
    take = taking.take

    async def failing(request: Any, hospital: str, sender: str, raw: bytes, *more: Any) -> Any:
        if b'"bad"' in raw:
            raise Problem(status, "unexpected")
        return await take(request, hospital, sender, raw, *more)

    monkeypatch.setattr(taking, "take", failing)
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry, bad, claim]}
    answer = await post(interop, batch)
    assert answer.status_code == 200
    assert [e["response"]["status"] for e in answer.json()["entry"]] == statuses
    checked("Bundle", answer.json())


async def test_a_message_is_answered_by_a_message(interop: Running) -> None:
    answer = await post(interop, sample("message-report"))
    header = answer.json()["entry"][0]["resource"]
    assert header["response"] == {"identifier": "m-1", "code": "ok"}
    (report,) = await interop.published(ReportReady)
    assert report.status == "preliminary"


async def test_a_laboratory_tells_its_reports_and_nothing_of_the_patient(interop: Running) -> None:
    assert (await post(interop, sample("message-report"), person="lis")).status_code == 200
    (report,) = await interop.published(ReportReady)
    assert report.patient_id == "F1002"
    (kept,) = await interop.rows("messages")
    assert [type for type, _ in kept["events"]] == [ReportReady.TYPE]


async def test_single_resources_are_put_posted_and_found_by_identifier(interop: Running) -> None:
    patient = sample("transaction-stay")["entry"][0]["resource"]
    named = "identifier=https://lianxin.example/mrn|F1001"
    both = await asyncio.gather(
        *(
            post(interop, patient, "/fhir/Patient", headers={"If-None-Exist": named})
            for _ in range(4)
        )
    )
    assert sorted(a.status_code for a in both) == [200, 200, 200, 201]
    assert len({a.headers["location"] for a in both}) == 1
    assert len(await interop.rows("resources")) == 1
    found = await post_put(interop, {**patient, "gender": "male"}, f"/fhir/Patient?{named}")
    assert (found.status_code, found.headers["etag"]) == (200, 'W/"2"')
    own = {**patient, "id": "p-1"}
    assert [(await post_put(interop, own, "/fhir/Patient/p-1")).status_code for _ in range(2)] == [
        201,
        200,
    ]


async def post_put(service: Running, body: Any, path: str) -> httpx.Response:
    async with client(service) as ehr:
        return await ehr.put(path, content=json.dumps(body), headers={"Content-Type": FHIR})


async def test_what_is_refused_is_listed_and_taken_up_again(interop: Running) -> None:
    stay = sample("transaction-stay")["entry"]
    patient = {**stay[0]["resource"], "id": "p-1"}
    visit = {
        "resourceType": "Encounter",
        "id": "e-1",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p-1"},
        "period": {"start": "2026-11-20T10:00:00+08:00"},
        "serviceProvider": {"identifier": {"value": "0401"}},
    }
    refused = await post_put(interop, visit, "/fhir/Encounter/e-1")
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["code"] == "not-found"
    await post_put(interop, patient, "/fhir/Patient/p-1")
    async with interop.client("ops", person="o1") as ops:
        (item,) = (await ops.get("/v1/messages", params={"standing": "refused"})).json()["items"]
        assert (item["format"], item["type"]) == ("fhir", "PUT Encounter")
        shown = (await ops.get(f"/v1/messages/{item['id']}")).json()
        assert json.loads(shown["raw"]) == visit
        path, key = f"/v1/messages/{item['id']}/reprocess", {"Idempotency-Key": "k1"}
        again = await ops.post(path, headers=key)
        assert again.json()["standing"] == "accepted"
        replayed = await ops.post(path, headers=key)
        assert replayed.json() == again.json()
    (seen,) = await interop.published(VisitCompleted)
    assert seen.visit_id == "e-1@ehr"
    wrong = {**visit, "status": "entered-in-error"}
    assert (await post_put(interop, wrong, "/fhir/Encounter/e-1")).status_code == 200
    (not_seen,) = await interop.published(VisitCancelled)
    assert (not_seen.visit_id, not_seen.patient_id) == (seen.visit_id, seen.patient_id)
    assert seen.recorded_at is not None and seen.recorded_at < not_seen.cancelled_at


async def test_what_is_taken_up_after_a_newer_version_changes_nothing(interop: Running) -> None:
    stay = sample("transaction-stay")["entry"]
    patient = {**stay[0]["resource"], "id": "p-1"}
    visit = {
        "resourceType": "Encounter",
        "id": "e-1",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p-1"},
        "period": {"start": "2026-11-20T10:00:00+08:00"},
        "serviceProvider": {"identifier": {"value": "0401"}},
    }
    ended = {"start": "2026-11-20T10:00:00+08:00", "end": "2026-11-21T10:00:00+08:00"}
    finished = {**visit, "status": "finished", "period": ended}
    assert (await post_put(interop, visit, "/fhir/Encounter/e-1")).status_code == 422
    await post_put(interop, patient, "/fhir/Patient/p-1")
    assert (await post_put(interop, finished, "/fhir/Encounter/e-1")).status_code == 201
    async with interop.client("ops", person="o1") as ops:
        (item,) = (await ops.get("/v1/messages", params={"standing": "refused"})).json()["items"]
        again = await ops.post(
            f"/v1/messages/{item['id']}/reprocess", headers={"Idempotency-Key": "k1"}
        )
        assert again.json()["standing"] == "accepted"
        shown = (await ops.get(f"/v1/messages/{item['id']}")).json()
    assert [note.split()[0] for note in shown["notes"]] == ["stale"]
    assert await interop.published(EncounterDischarged)
    (kept,) = [r for r in await interop.rows("resources") if r["type"] == "Encounter"]
    assert b"finished" in kept["content"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("POST", "/fhir", {"Authorization": ""}, 401, "login"),
        ("POST", "/fhir/Patient", {"Content-Type": "application/fhir+xml"}, 415, "not-supported"),
        ("POST", "/fhir?_format=xml", {}, 406, "not-supported"),
        ("POST", "/fhir", {"Content-Encoding": "gzip"}, 415, "not-supported"),
        ("GET", "/fhir/Patient/1", {}, 405, "not-supported"),
        ("GET", "/fhir/nothing/at/all", {}, 404, "not-supported"),
        ("PUT", "/fhir/Patient/1", {"If-Match": 'W/"1"'}, 412, "not-supported"),
        ("POST", "/fhir", {"X-Big": "yes"}, 413, "too-long"),
        ("POST", "/fhir", {}, 400, "invalid"),
    ],
)
async def test_whatever_is_wrong_is_said_in_an_operation_outcome(
    interop: Running, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    big = headers.pop("X-Big", "")
    content = b"x" * (10 * 1024 * 1024 + 1) if big else b"{"
    async with client(interop) as ehr:
        answer = await ehr.request(
            method, path, content=content, headers={"Content-Type": FHIR, **headers}
        )
    assert (answer.status_code, answer.headers["content-type"]) == (status, FHIR)
    assert answer.json()["issue"][0]["code"] == code


async def test_who_is_no_partner_or_has_another_role_is_forbidden(interop: Running) -> None:
    stranger = await post(interop, sample("message-report"), person="stranger")
    async with interop.client("doctor", person="ehr") as doctor:
        wrong_role = await doctor.post("/fhir", content=b"{}", headers={"Content-Type": FHIR})
    for answer in (stranger, wrong_role):
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")
    assert await interop.rows("messages") == []


async def test_everybody_may_ask_what_is_taken(interop: Running) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(interop.app), base_url="http://x"
    ) as anybody:
        answer = await anybody.get("/fhir/metadata")
    told = answer.json()
    assert (told["resourceType"], told["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    checked("CapabilityStatement", told)
    assert {"Patient", "Encounter"} <= {r["type"] for r in told["rest"][0]["resource"]}


def checked(type: str, told: dict[str, Any]) -> None:
    get_fhir_model_class(type).model_validate(told)


async def test_our_answers_are_fhir(interop: Running) -> None:
    checked("Bundle", (await post(interop, sample("transaction-stay"))).json())
    checked("Bundle", (await post(interop, sample("message-report"))).json())
    checked("OperationOutcome", (await post(interop, "{")).json())


async def test_no_patient_stands_in_keys_or_the_log(
    interop: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("interop", level="INFO")
    await post(interop, sample("transaction-stay"))
    said = capsys.readouterr().out
    assert '"message_answered"' in said
    resources = await interop.rows("resources")
    keys = json.dumps([[r["_id"], r["names"], r["told"]] for r in resources])
    for personal in ("F1001", "样例", "10000000001"):
        assert personal not in said
        assert personal not in keys
