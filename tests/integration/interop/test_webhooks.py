"""Does a partner that subscribes get every event, in order, whatever its endpoint does?"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml
from standardwebhooks import Webhook, WebhookVerificationError

from libs.common import logs, telemetry
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.events import PatientDeceased, ResultReleased
from libs.common.runtime import Runtime
from services.interop.domain.delivering import DROPPED
from services.interop.domain.subscription import RETIRED
from services.interop.main import SPEC, new_spec
from services.interop.senders.cloudevents import HANDSHAKE, HEARTBEAT
from tests.simulators.webhooks import Received, WebhookReceiver, webhook_receiver
from tests.support.examples import example
from tests.support.running import Running, running
from tests.support.toy import eventually

RELEASED = example("hospital.result.released.v1/corrected")
CLIENT = "app"


@pytest.fixture
def policies(tmp_path: Any) -> Callable[[str], Any]:
    """A folder of policies with one partner of ``hospital``."""

    def made(hospital: str, **changes: Any) -> Any:
        folder = tmp_path / "policies"
        for part in ("senders", "persons", "partners"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for part in ("senders", "persons"):
            for file in (ROOT / "policies" / part).glob("*.yaml"):
                (folder / part / file.name).write_bytes(file.read_bytes())
        topics = ["reports.events", "hospital.patients", "hospital.reports"]
        partner = {"client": CLIENT, "hospital": hospital, "name": "App", "subscribes": topics}
        (folder / "partners" / "app.yaml").write_text(yaml.safe_dump(partner | changes))
        return folder

    return made


def quick(**settings: Any) -> dict[str, Any]:
    return {
        "mllp_port": 0,
        "webhook_allow_private": True,
        "webhook_retry_base": 0.05,
        "webhook_retry_cap": 0.2,
        "webhook_timeout": 0.5,
        **settings,
    }


@pytest.fixture
async def interop(
    stack: Stack, policies: Callable[[str], Any], request: pytest.FixtureRequest
) -> AsyncIterator[Running]:
    logs.configure("interop", level="ERROR")
    hospital = f"h{uuid.uuid4().hex[:8]}"
    settings = quick(**getattr(request, "param", {}))
    async with running(stack, SPEC, policies_dir=policies(hospital), **settings) as service:
        service.hospital = hospital
        yield service


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as running:
        yield running


def released(patient: str, n: int) -> ResultReleased:
    assert isinstance(RELEASED, ResultReleased)
    return RELEASED.model_copy(update={"patient_id": patient, "report_id": f"{patient}-{n}"})


def terms(receiver: WebhookReceiver, **changes: Any) -> dict[str, Any]:
    return {"endpoint": receiver.url, "types": [ResultReleased.TYPE], **changes}


def app(service: Running, person: str = CLIENT, role: str = "integration") -> httpx.AsyncClient:
    return service.client(role, person=person)


async def post(client: httpx.AsyncClient, path: str, body: Any = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return await client.post(path, json=body, headers=headers, **more)


async def subscribed(service: Running, receiver: WebhookReceiver, **changes: Any) -> dict[str, Any]:
    """A subscription that has been greeted."""
    async with app(service) as client:
        answer = await post(client, "/v1/subscriptions", terms(receiver, **changes))
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        await until(lambda: is_status(client, created["id"], "active"))
    return created


async def is_status(client: httpx.AsyncClient, id: str, status: str) -> bool:
    return bool((await client.get(f"/v1/subscriptions/{id}")).json()["status"] == status)


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    await eventually(check, seconds)


def events_of(receiver: WebhookReceiver) -> list[dict[str, Any]]:
    """The events that it was sent, without handshakes and heartbeats."""
    found = [json.loads(r.body) for r in receiver.received]
    return [e for e in found if not e["type"].startswith("lianxin.")]


async def came(receiver: WebhookReceiver, count: int, seconds: float = 20) -> None:
    async def enough() -> bool:
        return len({e["id"] for e in events_of(receiver)}) >= count

    await until(enough, seconds)


async def all_delivered(service: Running, id: str, count: int) -> list[dict[str, Any]]:
    async with app(service) as client:

        async def done() -> bool:
            items = (await client.get(f"/v1/subscriptions/{id}/events")).json()["items"]
            return [i["status"] for i in items] == ["delivered"] * count

        await until(done)
        listed: list[dict[str, Any]] = (await client.get(f"/v1/subscriptions/{id}/events")).json()[
            "items"
        ]
        return listed


def verified(got: Received, secret: str) -> bool:
    try:
        Webhook(secret).verify(got.body, dict(got.headers))
    except WebhookVerificationError:
        return False
    return True


async def test_an_event_comes_as_it_was_published_signed_and_numbered(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    event = released("p1", 1)
    await interop.publish(("e-1", event))
    await came(receiver, 1)
    greeting, got = receiver.received
    assert json.loads(greeting.body)["type"] == HANDSHAKE
    assert all(verified(r, created["secret"]) for r in (greeting, got))
    told = json.loads(got.body)
    assert (told["id"], told["source"], told["type"]) == ("e-1", "/test", ResultReleased.TYPE)
    assert told["subject"] == "p1-1" and told["hospital"] == interop.hospital
    assert told["data"] == json.loads(event.model_dump_json(exclude_none=True))
    assert told["deliverynumber"] == 1 and got.headers["webhook-sequence"] == "1"
    assert got.headers["content-type"].startswith("application/cloudevents+json")
    (listed,) = await all_delivered(interop, created["id"], 1)
    assert listed["event"] == told and listed["id"] == got.key


async def test_only_what_was_asked_for_comes_and_each_subscription_counts_for_itself(
    interop: Running, receiver: WebhookReceiver
) -> None:
    one = await subscribed(interop, receiver, filter={"patient_id": ["p2"]})
    async with webhook_receiver() as other:
        two = await subscribed(interop, other, types=[], topics=["hospital.patients"])
        died = PatientDeceased(patient_id="p2", deceased_at=interop.now())
        await interop.publish(released("p1", 1), released("p2", 1), died, released("p2", 2))
        await came(receiver, 2)
        await came(other, 1)
        assert [e["deliverynumber"] for e in events_of(receiver)] == [1, 2]
        assert {e["data"]["patient_id"] for e in events_of(receiver)} == {"p2"}
        (only,) = events_of(other)
        assert (only["type"], only["deliverynumber"]) == (PatientDeceased.TYPE, 1)
        await all_delivered(interop, one["id"], 2)
        await all_delivered(interop, two["id"], 1)


async def test_the_same_event_twice_is_one_delivery(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    await interop.publish(("e-1", released("p1", 1)), ("e-1", released("p1", 1)))
    await interop.publish(("e-2", released("p1", 2)))
    await all_delivered(interop, created["id"], 2)
    assert [e["deliverynumber"] for e in events_of(receiver)] == [1, 2]


async def test_a_patients_events_wait_for_one_another_and_other_patients_do_not(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    receiver.script.extend(["500"] * 6 + ["422"] * 2)
    sent = [released(f"p{n % 3}", n) for n in range(12)]
    await interop.publish(*sent)
    await all_delivered(interop, created["id"], 12)
    first: dict[str, int] = {}
    order = defaultdict(list)
    for got in receiver.received[1:]:
        event = json.loads(got.body)
        if got.taken and event["id"] not in first:
            first[event["id"]] = event["deliverynumber"]
            order[event["data"]["patient_id"]].append(event["deliverynumber"])
    assert sorted(first.values()) == list(range(1, 13))
    assert all(numbers == sorted(numbers) for numbers in order.values())
    keys = defaultdict(set)
    for got in receiver.received[1:]:
        keys[json.loads(got.body)["id"]].add((got.key, got.body))
    assert all(len(same) == 1 for same in keys.values()), "each attempt is the same to the byte"


async def test_what_one_patients_event_fails_on_holds_up_nobody_else(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    refusing = receiver.answers = {"p1": "500"}
    await interop.publish(*(released(p, n) for n in range(5) for p in ("p1", "p2")))

    async def others() -> bool:
        taken = {e["data"]["report_id"] for e in events_of(receiver)}
        return {f"p2-{n}" for n in range(5)} <= taken

    await until(others)
    await asyncio.sleep(1.5)
    assert {e["data"]["report_id"] for e in events_of(receiver)} - {"p1-0"} == {
        f"p2-{n}" for n in range(5)
    }
    refusing.clear()
    await all_delivered(interop, created["id"], 10)


async def test_an_endpoint_that_is_away_is_left_alone_and_then_gets_everything(
    interop: Running,
) -> None:
    async with webhook_receiver() as first:
        created = await subscribed(interop, first)
        port = first.port
    await interop.publish(*(released(f"p{n}", n) for n in range(100)))
    async with app(interop) as client:

        async def failing() -> bool:
            view = (await client.get(f"/v1/subscriptions/{created['id']}")).json()
            return bool(view["failures"] >= 3 and view["waiting"] == 100)

        await until(failing)
        view = (await client.get(f"/v1/subscriptions/{created['id']}")).json()
        assert (view["last_error"], view["last"]) == ("unreachable", 100)
        items = (await client.get(f"/v1/subscriptions/{created['id']}/events")).json()["items"]
        assert sum(i["attempt"] for i in items) < 40, "it is tried with one, not with all"
    async with webhook_receiver(port) as again:
        await came(again, 100)
        await all_delivered(interop, created["id"], 100)


async def test_no_answer_and_a_redirect_are_tried_again(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    receiver.script.extend(["hang", "lose", "close", "redirect", "503", "429:1"])
    await interop.publish(released("p1", 1))
    (item,) = await all_delivered(interop, created["id"], 1)
    assert item["attempt"] == 7


@pytest.mark.parametrize("interop", [{"webhook_give_up_hours": 1 / 3600}], indirect=True)
async def test_what_is_given_up_is_parked_shown_and_sent_again_on_demand(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    path = f"/v1/subscriptions/{created['id']}"
    receiver.answers = {"p1-1": "500"}
    await interop.publish(released("p1", 1))
    async with app(interop) as client, app(interop, "o1", "ops") as ops:

        async def parked() -> bool:
            return bool((await client.get(path)).json()["parked"] == 1)

        await until(parked)
        await interop.publish(released("p1", 2))
        await came(receiver, 2)
        assert events_of(receiver)[-1]["deliverynumber"] == 2, "the number tells of the gap"
        listed = (await ops.get(f"{path}/events", params={"status": "parked"})).json()
        (item,) = listed["items"]
        assert (item["number"], item["status"], item["reason"]) == (1, "parked", "http_500")
        assert item["event"] is None, "operators see that it waits, not what it says"
        gap = (await client.get(f"{path}/events", params={"since": 0, "limit": 1})).json()
        assert (gap["items"][0]["event"]["data"]["report_id"], gap["next"]) == ("p1-1", 1)
        assert gap["last"] == 2
        receiver.answers = {}
        answer = await post(ops, f"{path}/resend")
        assert answer.json() == {"resent": 1, "parked": 0}
    await all_delivered(interop, created["id"], 2)


async def test_an_endpoint_that_is_gone_suspends_and_what_comes_meanwhile_waits(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    receiver.script.append("410")
    await interop.publish(released("p1", 1))
    async with app(interop) as client:
        await until(lambda: is_status(client, created["id"], "suspended"))
        view = (await client.get(f"/v1/subscriptions/{created['id']}")).json()
        assert view["reason"] == "http_410"
        await interop.publish(released("p1", 2))
        await asyncio.sleep(1.5)
        assert len(events_of(receiver)) == 1
        answer = await post(client, f"/v1/subscriptions/{created['id']}/resume")
        assert answer.status_code == 200
        await until(lambda: is_status(client, created["id"], "active"))
    items = await all_delivered(interop, created["id"], 2)
    assert [i["number"] for i in items] == [1, 2]


async def test_what_waited_too_long_for_a_suspended_one_is_dropped_and_its_receiver_told(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    path = f"/v1/subscriptions/{created['id']}"
    receiver.script.append("410")
    await interop.publish(released("p1", 1))
    async with app(interop) as client:
        await until(lambda: is_status(client, created["id"], "suspended"))
        await interop.publish(released("p1", 2))
        await until(lambda: is_last(client, path, 2))
        # As if two months had passed.
        long_ago = datetime.now(UTC) - timedelta(days=60)
        for name, change in (("subscriptions", "changed_at"), ("deliveries", "at")):
            for row in await interop.rows(name):
                raw, set_ = interop.database.raw(name), {"$set": {change: long_ago}}
                await interop.database.update_row(raw, {"_id": row["_id"]}, set_)
        (agenda,) = await interop.rows("agendas")
        due = {"$set": {"due_at": long_ago}, "$inc": {"version": 1}}
        raw = interop.database.raw("agendas")
        await interop.database.update_row(raw, {"_id": agenda["_id"]}, due)

        async def dropped() -> bool:
            return bool((await client.get(path)).json()["dropped"] == 2)

        await until(dropped)
        await interop.publish(released("p1", 3))
        await until(lambda: is_last(client, path, 3))
        seen = (await client.get(f"{path}/events")).json()
        told = [(i["status"], i["reason"], i["event"] is None) for i in seen["items"]]
        gone = ("discarded", DROPPED, True)
        assert told == [gone, gone, ("pending", "", False)] and seen["dropped"] == 2
        status = (await client.get(f"/fhir/Subscription/{created['id']}/$events")).text
        assert "events up to number 2" in status
        await post(client, f"{path}/resume")
        await until(lambda: is_status(client, created["id"], "active"))
    handshake = [json.loads(r.body) for r in receiver.received if HANDSHAKE in r.body.decode()][-1]
    assert handshake["data"] == {"subscription": created["id"], "last": 3, "dropped": 2}
    await came(receiver, 2)
    assert [e["deliverynumber"] for e in events_of(receiver)] == [1, 3]


async def is_last(client: httpx.AsyncClient, path: str, number: int) -> bool:
    return bool((await client.get(path)).json()["last"] == number)


async def test_no_event_hurries_an_endpoint_that_is_left_alone(
    stack: Stack, policies: Callable[[str], Any], receiver: WebhookReceiver
) -> None:
    hospital = f"h{uuid.uuid4().hex[:8]}"
    settings = quick(webhook_retry_base=30.0, webhook_retry_cap=30.0)
    folder = policies(hospital)
    async with running(stack, new_spec(), policies_dir=folder, **settings) as interop:
        interop.hospital = hospital
        created = await subscribed(interop, receiver)
        receiver.script += ["503"] * 9
        async with app(interop) as client:
            await interop.publish(released("p1", 1))
            await came(receiver, 1)
            for n in (2, 3, 4):
                await interop.publish(released(f"p{n}", n))
            await until(lambda: is_last(client, f"/v1/subscriptions/{created['id']}", 4))
        await asyncio.sleep(1.5)
        assert len(events_of(receiver)) == 1


async def test_a_secret_is_exchanged_without_a_moment_when_neither_works(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    async with app(interop) as client:
        shown = (await client.get(f"/v1/subscriptions/{created['id']}")).text
        assert created["secret"] not in shown
        renewed = (await post(client, f"/v1/subscriptions/{created['id']}/secret")).json()
    assert renewed["secret"] != created["secret"]
    await interop.publish(released("p1", 1))
    await came(receiver, 1)
    got = receiver.received[-1]
    assert verified(got, created["secret"]) and verified(got, renewed["secret"])
    assert len(got.headers["webhook-signature"].split(" ")) == 2


async def test_another_endpoint_is_greeted_before_it_gets_anything(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    path = f"/v1/subscriptions/{created['id']}"
    async with webhook_receiver() as moved, app(interop) as client:
        tag = (await client.get(path)).headers["ETag"]
        moved.script.extend(["500", "204"])
        stale = await client.put(path, json=terms(moved), headers={"If-Match": '"1"'})
        assert stale.status_code == 412
        answer = await client.put(path, json=terms(moved), headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text
        await interop.publish(released("p1", 1))
        await came(moved, 1)
        types = [json.loads(r.body)["type"] for r in moved.received]
        assert types == [HANDSHAKE, HANDSHAKE, ResultReleased.TYPE]
    assert len(receiver.received) == 1


async def test_a_quiet_subscription_gets_heartbeats_with_the_last_number(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver, heartbeat_seconds=60)
    await interop.publish(released("p1", 1))
    await all_delivered(interop, created["id"], 1)
    # A minute of quiet, as if it had passed.
    agendas = interop.database.raw("agendas")
    (agenda,) = await interop.rows("agendas")
    earlier = agenda["last_sent_at"] - (agenda["due_at"] - agenda["last_sent_at"])
    await interop.database.update_row(
        agendas,
        {"_id": agenda["_id"]},
        {"$set": {"last_sent_at": earlier, "due_at": interop.now()}, "$inc": {"version": 1}},
    )

    async def beaten() -> bool:
        return bool(json.loads(receiver.received[-1].body)["type"] == HEARTBEAT)

    await until(beaten)
    assert json.loads(receiver.received[-1].body)["data"]["last"] == 1
    assert verified(receiver.received[-1], created["secret"])
    await asyncio.sleep(1.5)
    assert len(receiver.received) == 3, "one heartbeat, then quiet again"


async def test_a_deleted_subscription_sends_and_keeps_nothing_more(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    receiver.answers = {"p1": "500"}
    await interop.publish(released("p1", 1), released("p1", 2))
    await came(receiver, 1)
    path = f"/v1/subscriptions/{created['id']}"
    async with app(interop) as client:
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404

    async def discarded() -> bool:
        rows = await interop.rows("deliveries")
        return [(r["status"], r["event"]) for r in rows] == [("discarded", b"")] * 2

    await until(discarded)
    await interop.publish(released("p1", 3))
    await asyncio.sleep(1.5)
    assert len(await interop.rows("deliveries")) == 2
    (row,) = await interop.rows("subscriptions")
    assert created["secret"] not in str(row)


async def test_another_partner_sees_nothing_and_who_is_none_may_not_subscribe(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    path = f"/v1/subscriptions/{created['id']}"
    async with app(interop, "other") as other, app(interop, "o1", "ops") as ops:
        assert (await other.get(path)).status_code == 404
        assert (await other.get(f"{path}/events")).status_code == 404
        assert (await post(other, f"{path}/secret")).status_code == 404
        assert (await other.delete(path)).status_code == 404
        assert (await other.get("/v1/subscriptions")).json()["items"] == []
        refused = await post(other, "/v1/subscriptions", terms(receiver))
        assert (refused.status_code, refused.json()["reason"]) == (403, "unknown_partner")
        (seen,) = (await ops.get("/v1/subscriptions")).json()["items"]
        assert seen["id"] == created["id"] and "secret" not in seen


async def test_a_retired_partners_token_sees_nothing_any_more(
    interop: Running, receiver: WebhookReceiver
) -> None:
    created = await subscribed(interop, receiver)
    path = f"/v1/subscriptions/{created['id']}"
    fhir = f"/fhir/Subscription/{created['id']}"
    reads = (path, f"{path}/events", f"{fhir}/$status", f"{fhir}/$events")
    raw = interop.database.raw("subscriptions")
    async with app(interop) as client, app(interop, "o1", "ops") as ops:
        for reason, code, count in (("gone", 200, 1), (RETIRED, 404, 0)):
            change = {"$set": {"status": "suspended", "reason": reason}}
            await interop.database.update_row(raw, {"id": created["id"]}, change)
            assert [(await client.get(read)).status_code for read in reads] == [code] * 4
            assert len((await client.get("/v1/subscriptions")).json()["items"]) == count
            assert (await ops.get(path)).json()["reason"] == reason
            (seen,) = (await ops.get("/v1/subscriptions")).json()["items"]
            assert seen["id"] == created["id"]
        assert (await post(client, f"{path}/resend")).status_code == 404


async def test_what_can_not_be_is_refused_with_its_field(
    interop: Running, receiver: WebhookReceiver
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"types": ["hospital.result.recalled.v1", "hospital.refill.requested.v1"]},
            "type_not_allowed",
        ),
        ({"types": [], "topics": ["notify.requests"]}, "type_not_allowed"),
        ({"types": []}, "invalid_request"),
        ({"filter": {"ward": ["x"]}}, "unknown_filter_field"),
        ({"endpoint": "ftp://app.example/"}, "invalid_request"),
        ({"endpoint": "https://me@app.example/"}, "invalid_request"),
        ({"endpoint": "https://app.example/#x"}, "invalid_request"),
        ({"endpoint": "https://app.example/\u00e9"}, "invalid_request"),
        ({"endpoint": "https://[:::]/"}, "invalid_request"),
        ({"endpoint": "https://app.example:65536/"}, "invalid_request"),
        ({"heartbeat_seconds": 5}, "invalid_request"),
    ]
    async with app(interop) as client:
        for changes, reason in cases:
            answer = await post(client, "/v1/subscriptions", terms(receiver, **changes))
            assert (answer.status_code, answer.json()["reason"]) == (422, reason), changes


@pytest.mark.parametrize("interop", [{"webhook_allow_private": False}], indirect=True)
async def test_an_endpoint_inside_our_network_is_refused(interop: Running) -> None:
    endpoints = (
        "http://8.8.8.8/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://localhost/",
        "https://[::1]:8443/x",
    )
    async with app(interop) as client:
        for endpoint in endpoints:
            body = {"endpoint": endpoint, "types": [ResultReleased.TYPE]}
            answer = await post(client, "/v1/subscriptions", body)
            assert (answer.status_code, answer.json()["reason"]) == (422, "address_forbidden")
            assert answer.json()["errors"][0]["field"] == "/endpoint"


async def test_another_replica_goes_on_where_one_has_stopped(
    stack: Stack, policies: Callable[[str], Any]
) -> None:
    logs.configure("interop", level="ERROR")
    hospital = f"h{uuid.uuid4().hex[:8]}"
    async with (
        webhook_receiver() as receiver,
        running(stack, new_spec(), policies_dir=policies(hospital), **quick()) as service,
    ):
        service.hospital = hospital
        created = await subscribed(service, receiver)
        receiver.answers = {"p": "503"}
        await service.publish(*(released(f"p{n % 4}", n) for n in range(40)))

        async def numbered() -> bool:
            return len(await service.rows("deliveries")) == 40

        await until(numbered)
        traces = telemetry.setup("interop", sample_ratio=0.0, install=False)
        other = Runtime(new_spec(), service.runtime.settings, service.runtime.ports, traces)
        service.runtime.lease._term = 10**6  # it does not come back
        await service.runtime.lease.release()
        async with other.running():

            async def took_over() -> bool:
                return other.lease.owned

            await until(took_over, 30)
            receiver.answers = {}
            await all_delivered(service, created["id"], 40)
        first = list({e["id"]: e["deliverynumber"] for e in reversed(events_of(receiver))}.values())
        assert sorted(first) == list(range(1, 41))


@pytest.mark.parametrize("format", ["fhir-id-only", "fhir-full-resource"])
async def test_a_fhir_receiver_is_greeted_notified_and_asks_for_what_it_lacks(
    interop: Running, receiver: WebhookReceiver, format: str
) -> None:
    created = await subscribed(interop, receiver, format=format)
    await interop.publish(released("p1", 1), released("p2", 1))

    async def notified() -> bool:
        return len(receiver.received) == 3

    await until(notified)
    bundles = [json.loads(r.body) for r in receiver.received]
    kinds = [b["entry"][0]["resource"]["parameter"][3]["valueCode"] for b in bundles]
    assert kinds == ["handshake", "event-notification", "event-notification"]
    assert all(r.headers["content-type"] == "application/fhir+json" for r in receiver.received)
    assert all(verified(r, created["secret"]) for r in receiver.received)
    assert ("resource" in bundles[1]["entry"][1]) is (format == "fhir-full-resource")
    path = f"/fhir/Subscription/{created['id']}"
    async with app(interop) as client, app(interop, "other") as other:
        status = await client.get(f"{path}/$status")
        told = status.json()["entry"][0]["resource"]["parameter"]
        assert {"name": "events-since-subscription-start", "valueString": "2"} in told
        asked: dict[str, str | int] = {"eventsSinceNumber": 2, "content": "full-resource"}
        parameters = [
            {"name": "eventsSinceNumber", "valueString": "2"},
            {"name": "content", "valueCode": "full-resource"},
        ]
        said = {"resourceType": "Parameters", "parameter": parameters}
        for answer in (
            await client.get(f"{path}/$events", params=asked),
            await client.post(f"{path}/$events", params=asked),
            await client.post(f"{path}/$events", json=said),
        ):
            assert answer.headers["content-type"].startswith("application/fhir+json")
            (_, entry) = answer.json()["entry"]
            assert entry["resource"]["subject"]["reference"] in ("Patient/p1", "Patient/p2")
        for content in ("id-only", "empty"):
            answer = await client.get(f"{path}/$events", params={**asked, "content": content})
            assert answer.status_code == 200
        for wrong in ({"name": "content", "valueCode": "all"}, {"valueCode": "empty"}, "content"):
            answer = await client.post(f"{path}/$events", json={"parameter": [wrong]})
            assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")
        nothing = await other.get(f"{path}/$events")
        assert nothing.status_code == 404
        assert nothing.json()["resourceType"] == "OperationOutcome"
    reads = await interop.database.find_rows(interop.database.raw("audit"), {})
    assert len(reads) == 4, "each read of a patient's resource, or of its id, is recorded"
