"""Does an event that a partner posts reach Kafka as it was, once, in order, or say why not?"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import httpx
import pytest
import yaml

from libs.common import logs
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.events import EncounterDischarged, PatientUpdated
from libs.common.kafka.reading import read_all
from services.interop.edge.cloudevents import BATCH, STRUCTURED
from services.interop.main import SPEC
from tests.support.examples import BODIES
from tests.support.running import Running, running

SOURCE = "https://his.hospital.example/"
DISCHARGED = next(n for n in BODIES if n.startswith(EncounterDischarged.TYPE))
UPDATED = next(n for n in BODIES if n.startswith(PatientUpdated.TYPE))


@pytest.fixture
async def interop(stack: Stack, tmp_path: Any) -> AsyncIterator[Running]:
    """A platform of its own hospital, whose one partner may write about patients and stays."""
    logs.configure("interop", level="WARNING")
    hospital = f"h{uuid.uuid4().hex[:8]}"
    policies = tmp_path / "policies"
    policies.mkdir()
    for part in ("senders", "persons"):
        (policies / part).symlink_to(ROOT / "policies" / part)
    (policies / "partners").mkdir()
    partner = {
        "client": "his",
        "hospital": hospital,
        "name": "HIS",
        "sources": [SOURCE],
        "publishes": ["hospital.encounters", "hospital.patients"],
    }
    (policies / "partners" / "his.yaml").write_text(yaml.safe_dump(partner))
    async with running(stack, SPEC, mllp_port=0, policies_dir=policies) as service:
        service.hospital = hospital
        yield service


def event(name: str = DISCHARGED, **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "type": name.partition("/")[0],
        "time": "2026-11-18T01:12:00Z",
        "data": json.loads(BODIES[name]),
        **attributes,
    }


async def post(service: Running, body: Any, form: str = STRUCTURED, **who: Any) -> httpx.Response:
    caller = {"person": "his", **who}
    async with service.client("integration", **caller) as his:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await his.post(
            "/v1/events",
            content=content,
            headers={"Content-Type": form, "Accept-Language": "en"},
        )


async def test_an_event_reaches_kafka_with_its_own_identity(interop: Running) -> None:
    sent = event(subject="e-20261118-017", correlationid="c-1")
    answer = await post(interop, sent)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "repeated": 0})
    (told,) = await interop.published(EncounterDischarged)
    assert told == EncounterDischarged.model_validate_json(json.dumps(sent["data"]))
    (row,) = await _headers(interop, "hospital.encounters", 1)
    assert row["ce_id"] == sent["id"].encode()
    assert row["ce_source"] == SOURCE.encode()
    assert row["ce_time"] == b"2026-11-18T01:12:00Z"
    assert row["ce_correlationid"] == b"c-1"


async def _headers(service: Running, topic: str, count: int) -> list[dict[str, bytes]]:
    found: list[dict[str, bytes]] = []
    async for record in read_all(service.stack.bootstrap, [topic]):
        headers = {k: v for k, v in record.headers if v is not None}
        if headers.get("ce_hospital") == service.hospital.encode():
            found.append(headers)
        if len(found) == count:
            break
    return found


async def test_a_repetition_is_answered_and_tells_nothing_twice(interop: Running) -> None:
    first, second = event(), event(UPDATED)
    assert (await post(interop, [first, second], BATCH)).json() == {"accepted": 2, "repeated": 0}
    assert (await post(interop, [second, first], BATCH)).json() == {"accepted": 2, "repeated": 2}
    last = event()
    await post(interop, last)
    seen = [h["ce_id"].decode() for h in await _headers(interop, "hospital.encounters", 2)]
    assert seen == [first["id"], last["id"]]


async def test_a_batch_keeps_its_order_for_each_patient(interop: Running) -> None:
    many = [event(UPDATED, sequence=str(n)) for n in range(150)]
    assert (await post(interop, many, BATCH)).status_code == 202
    seen = await _headers(interop, "hospital.patients", 150)
    assert [int(h["ce_sequence"]) for h in seen] == list(range(150))


async def test_a_used_id_with_another_body_is_a_conflict_and_the_others_are_stored(
    interop: Running,
) -> None:
    first, other = event(), event()
    assert (await post(interop, first)).status_code == 202
    changed = {**first, "data": {**first["data"], "disposition": "other"}}
    answer = await post(interop, [changed, other], BATCH)
    assert (answer.status_code, answer.json()["reason"]) == (409, "event_id_reused")
    assert answer.json()["index"] == 0
    seen = [h["ce_id"].decode() for h in await _headers(interop, "hospital.encounters", 2)]
    assert seen == [first["id"], other["id"]]


async def test_nobody_writes_for_another(interop: Running) -> None:
    cases: list[tuple[dict[str, Any], dict[str, str], str]] = [
        ({"source": "https://lis.hospital.example/"}, {}, "source_not_allowed"),
        ({"hospital": "another"}, {}, "hospital_not_allowed"),
        ({}, {"person": "lis"}, "unknown_partner"),
    ]
    for changed, who, reason in cases:
        answer = await post(interop, event(**changed), **who)
        assert (answer.status_code, answer.json()["reason"]) == (403, reason)
        assert answer.json()["detail"]
    assert await interop.rows("outbox") == []


async def test_a_topic_that_is_not_the_partners_is_refused_by_name(interop: Running) -> None:
    ready = next(n for n in BODIES if n.startswith("hospital.report.ready.v1"))
    answer = await post(interop, event(ready))
    assert (answer.status_code, answer.json()["reason"]) == (403, "topic_not_allowed")
    assert "hospital.reports" in answer.json()["detail"]


async def test_one_bad_event_keeps_its_whole_batch_out_and_is_named(interop: Running) -> None:
    bad = event(UPDATED)
    del bad["data"]["birth_date"]
    answer = await post(interop, [event(), bad], BATCH)
    assert answer.status_code == 422
    told = answer.json()
    assert (told["reason"], told["index"], told["fault"]) == (
        "event_invalid",
        1,
        "schema_violation",
    )
    assert "birth_date" in told["detail"]
    assert await interop.rows("patients") == []


async def test_garbage_is_refused_and_nothing_breaks(interop: Running) -> None:
    bodies = [b"", b"\xff\xfe", b"[]", b"{" * 1000, b"null", b'{"id": 1}']
    forms = [STRUCTURED, BATCH, "application/json", "text/html"]
    for body, form in product(bodies, forms):
        answer = await post(interop, body, form)
        assert answer.status_code == 422, (body, form)
        assert answer.json()["reason"] in {"event_invalid", "event_batch_invalid"}
