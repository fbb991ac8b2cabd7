"""Two replicas of notify as processes, on the real broker and database."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from libs.common.cloudevents import CloudEvent, decode, encode
from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import (
    EVENT_TYPES,
    ConsentScope,
    ConsentWithdrawn,
    Event,
    NotificationDelivered,
    NotificationRead,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    PatientRegistered,
)
from libs.common.kafka.cluster import cluster
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.mongo.database import Database
from services.notify.main import SPEC
from services.notify.store import DELIVERIES
from tests.simulators.smtp import MailServer, mail_server
from tests.simulators.webhooks import WebhookReceiver, webhook_receiver
from tests.support.topics import ends, own_topics
from tests.support.toy import eventually

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
#: Beside whatever else runs on the run's broker and database.
REPLICAS = ("notify-7", "notify-8")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class World:
    """The replicas and where their providers must listen. ``hospital`` is one test's own."""

    stack: Stack
    database: str
    environment: dict[str, str]
    smtp_port: int
    webhook_port: int
    hospital: str = "h"
    received: list[tuple[str, Event]] = field(default_factory=list)

    # These two block: call them in a thread, for the providers run on the test's loop.

    def stop(self, name: str, sig: signal.Signals) -> None:
        self.stack.kill(name, sig)
        self.stack.remove(name)

    def start(self, name: str) -> None:
        replica = int(name.rpartition("-")[2])
        self.stack.start_service("notify", replica=replica, environment=self.environment)

    def url(self, replica: int = 0) -> str:
        return self.stack.service_url(REPLICAS[replica])

    def headers(self, person: str, *roles: str) -> dict[str, str]:
        token = self.stack.issuer().token(
            person=person, hospital=self.hospital, roles=roles or ("patient",)
        )
        return {"Authorization": f"Bearer {token}"}

    async def publish(self, *events: Event, producer: Producer | None = None) -> None:
        rows = [self._row(e) for e in events]
        ours = Producer(self.stack.bootstrap)
        await ours.start()
        while rows:
            sent = {id(r) for r in await ours.send(rows)}
            rows = [r for r in rows if id(r) not in sent]
        await ours.stop()

    def _row(self, data: Event) -> Any:
        event = CloudEvent(
            id=uuid.uuid4().hex,
            source="/test",
            type=data.TYPE,
            subject=str(getattr(data, data.SUBJECT)),
            time=now(),
            hospital=self.hospital,
            data=data,
        )
        return _Row(data.TOPIC, *encode(event))

    async def events_until(
        self, enough: Callable[[list[Event]], bool], seconds: float = 30
    ) -> list[Event]:
        """This hospital's ``notify.events``, each once, until there are enough."""
        found: dict[str, Event] = {}
        async with asyncio.timeout(seconds):
            async for record in read_all(self.stack.bootstrap, ["notify.events"]):
                event = decode(record.headers, record.value, EVENT_TYPES)
                if event.hospital == self.hospital:
                    found[event.id] = event.data
                if found and enough(list(found.values())):
                    break
        return list(found.values())

    async def get(self, path: str, person: str, *roles: str, replica: int = 0) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url(replica)) as client:
            return await client.get(path, headers=self.headers(person, *roles))

    async def inbox(self, person: str) -> list[dict[str, Any]]:
        answer = await self.get("/v1/inbox", person)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def deliveries(self) -> list[dict[str, Any]]:
        database = self.stack.database(self.database)
        try:
            raw = database.collection(DELIVERIES).raw
            return await database.find_rows(raw, {"hospital": self.hospital})
        finally:
            await database.close()

    async def settled(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """All ``count`` deliveries, when none of them is under way any more."""

        async def over() -> list[dict[str, Any]] | None:
            rows = await self.deliveries()
            done = [r for r in rows if r["next_attempt_at"] is None]
            return rows if len(done) == len(rows) == count else None

        rows: list[dict[str, Any]] = await eventually(over, seconds)
        return rows


@dataclass(frozen=True)
class _Row:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def quick_policies(folder: Path) -> Path:
    """The policies with waits that a test can afford."""
    copy = folder / "policies"
    shutil.copytree(ROOT / "policies", copy)
    [path] = (copy / "notify").glob("*.yaml")
    figures = yaml.safe_load(path.read_bytes())
    for channel in figures["channels"].values():
        channel |= {"first": 0.2, "cap": 1}
    path.write_text(yaml.safe_dump(figures), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def replicas(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    smtp_port, webhook_port = free_ports(2)
    name = "notify" + uuid.uuid4().hex[:8]
    environment = {
        "MONGO_DATABASE": name,
        "KAFKA_GROUP": name,
        "POLICIES_DIR": str(quick_policies(tmp_path_factory.mktemp("notify"))),
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp_port),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "notify@hospital.test",
        "SMTP_TIMEOUT": "1",
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "WEBHOOK_TIMEOUT": "1",
    }
    asyncio.run(_begin_here(stack, name))
    stack.migrate("notify", environment=environment)
    for replica in (7, 8):
        stack.start_service("notify", replica=replica, environment=environment, wait=False)
    stack.wait_ready(*REPLICAS)
    yield World(stack, name, environment, smtp_port, webhook_port)
    for replica_name in REPLICAS:
        stack.remove(replica_name)
    asyncio.run(_drop(stack.mongo_url, name))


async def _begin_here(stack: Stack, group: str) -> None:
    """Of a whole run's tests before it nobody is told: their mails would come to these tests."""
    await own_topics(stack.bootstrap, group)
    async with cluster(stack.bootstrap) as at:
        await at.set_committed(group, await ends(stack.bootstrap, SPEC.topics))


async def _drop(mongo_url: str, name: str) -> None:
    database = Database(mongo_url, name)
    await database.drop()
    await database.close()


@pytest.fixture
def world(replicas: World) -> World:
    replicas.hospital = "notify-" + uuid.uuid4().hex[:8]
    return replicas


@pytest.fixture
async def mails(world: World) -> AsyncIterator[MailServer]:
    async with mail_server(world.smtp_port) as server:
        yield server


@pytest.fixture
async def hooks(world: World) -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver(world.webhook_port) as receiver:
        yield receiver


def person(world: World, id: str, **changes: Any) -> PatientRegistered:
    given: dict[str, Any] = {
        "patient_id": id,
        "name": "张三",
        "birth_date": date(1980, 1, 1),
        "email": f"{id}@example.org",
        "webhook": f"http://127.0.0.1:{world.webhook_port}/{id}",
        "updated_at": now() - timedelta(days=1),
    }
    return PatientRegistered(**(given | changes))


def request(id: str, person: str, **changes: Any) -> NotificationRequested:
    given: dict[str, Any] = {
        "notification_id": id,
        "recipient_id": person,
        "patient_id": person,
        "template": "report.ready",
        "parameters": {"kind": "imaging"},
        "health_data": True,
        "dedupe_key": id,
        "event_time": now(),
        "expires_at": now() + timedelta(days=7),
    }
    return NotificationRequested(**(given | changes))


async def test_a_person_is_told_by_every_channel_and_reads_it(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    link = "https://lianxin.example/accept#token=very-secret"
    await world.publish(person(world, "p1", language="en"))
    await world.publish(request("n1", "p1", link=link))
    await world.settled(2)

    [mail] = mails.mails
    [hook] = hooks.received
    assert mail.recipient == "p1@example.org"
    assert link in mail.text
    assert mail.message["Subject"] == hook.data["title"] == "A report is ready: imaging"
    assert (hook.path, hook.data["notification_id"]) == ("/p1", "n1")

    [item] = await world.inbox("p1")
    assert (item["id"], item["title"], item["link"]) == ("n1", hook.data["title"], link)
    assert (item["status"], item["read_at"]) == ("unread", None)
    async with httpx.AsyncClient(base_url=world.url(1)) as client:
        path = "/v1/inbox/n1/read"
        assert (await client.post(path, headers=world.headers("p2"))).status_code == 404
        done = await client.post(path, headers=world.headers("p1"))
        again = await client.post(path, headers=world.headers("p1"))
    assert (done.status_code, done.json()) == (200, again.json())
    assert (await world.inbox("p1"))[0]["status"] == "read"

    told = await world.events_until(lambda es: any(isinstance(e, NotificationRead) for e in es))
    assert Counter((type(e), getattr(e, "channel", None)) for e in told) == Counter(
        [
            (NotificationSent, "inbox"),
            (NotificationSent, "email"),
            (NotificationSent, "webhook"),
            (NotificationDelivered, "webhook"),
            (NotificationRead, "inbox"),
        ]
    )

    state = await world.get("/v1/notifications/n1", "ops-1", "ops")
    assert state.status_code == 200
    assert [(c["channel"], c["status"]) for c in state.json()["channels"]] == [
        ("email", "sent"),
        ("webhook", "sent"),
    ]
    for secret in ("very-secret", "example.org", "imaging", item["title"]):
        assert secret not in state.text
    assert (await world.get("/v1/notifications/n1", "p1", "patient")).status_code == 403
    assert (await world.get("/v1/notifications/n2", "ops-1", "ops")).status_code == 404
    assert await world.inbox("p2") == []


async def test_personal_data_is_in_no_log_and_no_metric(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    link = "https://lianxin.example/accept#token=Geheimnis"
    hooks.script.extend(["500", "lose"])
    await world.publish(person(world, "p1", email="wangxiaoming@example.org"))
    await world.publish(request("n1", "p1", link=link))
    await world.settled(2)
    async with httpx.AsyncClient() as client:
        shown = [(await client.get(world.url(r) + "/metrics")).text for r in (0, 1)]
    logs = [
        p.read_text(errors="replace") for p in (world.stack.folder / "logs").glob("notify-[78]*")
    ]
    assert logs
    for text in (*shown, *logs):
        for secret in ("Geheimnis", "wangxiaoming", "/p1", "影像"):
            assert secret not in text
    assert any("provider_calls_total" in text for text in shown)


async def test_faults_that_pass_are_retried_and_others_are_told(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    mails.script.extend(["busy", "lose", "take"])
    hooks.script.extend(["503", "close", "lose", "204"])
    await world.publish(person(world, "p1"))
    await world.publish(request("n1", "p1"))
    await world.settled(2)
    assert {r["status"] for r in await world.deliveries()} == {"sent"}
    assert len({m.message_id for m in mails.mails}) == 1
    assert len(mails.mails) == 2
    assert len({r.key for r in hooks.received}) == 1

    mails.script.append("refuse")
    hooks.script.append("410")
    await world.publish(request("n2", "p1"))
    rows = {r["channel"]: r for r in await world.settled(4) if r["notification_id"] == "n2"}
    assert (rows["email"]["status"], rows["email"]["reason"]) == ("failed", "mailbox_unavailable")
    assert (rows["webhook"]["status"], rows["webhook"]["code"]) == ("failed", "410")


async def test_what_is_not_to_be_told_is_not(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    withdrawal = ConsentWithdrawn(
        consent_id="c",
        patient_id="p2",
        person_id="p2",
        scope=ConsentScope.HEALTH_DATA,
        withdrawn_at=now(),
    )
    await world.publish(person(world, "p1"), person(world, "p2"), withdrawal)

    async def withdrawn() -> bool:
        database = world.stack.database(world.database)
        query = {"hospital": world.hospital}
        try:
            return bool(await database.find_rows(database.raw("links"), query))
        finally:
            await database.close()

    await eventually(withdrawn)
    await world.publish(
        request("late", "p1", expires_at=now() - timedelta(days=1)),
        request("once", "p1", dedupe_key="same"),
        request("twice", "p1", dedupe_key="same"),
        request("private", "p2"),
    )

    def suppressions(events: list[Event]) -> dict[str, str]:
        return {
            e.notification_id: e.reason for e in events if isinstance(e, NotificationSuppressed)
        }

    told = await world.events_until(lambda events: len(suppressions(events)) == 3)
    assert suppressions(told) == {
        "late": "expired",
        "twice": "duplicate",
        "private": "no_consent",
    }
    await world.settled(2)
    assert [m["id"] for m in await world.inbox("p1")] == ["once"]
    assert await world.inbox("p2") == []
    assert (len(mails.mails), len(hooks.received)) == (1, 1)


async def test_an_unknown_person_is_told_by_mail_when_the_contact_arrives(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    await world.publish(request("n1", "p1"))

    async def in_inbox() -> bool:
        return len(await world.inbox("p1")) == 1

    await eventually(in_inbox)
    assert (await world.deliveries(), mails.mails) == ([], [])
    await world.publish(person(world, "p1"))
    await world.settled(2)
    assert (len(mails.mails), len(hooks.received), len(await world.inbox("p1"))) == (1, 1, 1)


async def test_pages_of_the_inbox_show_each_message_once_while_it_grows(world: World) -> None:
    await world.publish(person(world, "p1", email=None, webhook=None))
    await world.publish(*(request(f"n{n}", "p1") for n in range(7)))

    async def complete() -> bool:
        return len(await world.inbox("p1")) == 7

    await eventually(complete)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await world.get(f"/v1/inbox?limit=3{cursor}", "p1")).json()
        seen += [m["id"] for m in page["items"]]
        if len(seen) == 3:
            await world.publish(request("new", "p1"))
            await asyncio.sleep(1)
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == [f"n{n}" for n in range(7)]
    assert (await world.get("/v1/inbox?cursor=nonsense", "p1")).status_code == 400


async def _stream(world: World, replica: int, person: str, **headers: str) -> AsyncIterator[Any]:
    timeout = httpx.Timeout(5, read=30)
    async with httpx.AsyncClient(base_url=world.url(replica), timeout=timeout) as client:
        sent = {**world.headers(person), **headers}
        async with client.stream("GET", "/v1/inbox/live", headers=sent) as response:
            assert response.status_code == 200
            yield "open"
            event: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    event[name] = value.strip()
                elif event.get("event"):
                    yield event
                    event = {}


async def _next(stream: AsyncIterator[Any]) -> Any:
    async with asyncio.timeout(15):
        return await anext(stream)


async def test_a_live_inbox_hears_of_messages_at_either_replica_and_goes_on_where_it_was(
    world: World,
) -> None:
    await world.publish(*(person(world, f"p{n}", email=None, webhook=None) for n in range(6)))
    streams = {
        (n, replica): _stream(world, replica, f"p{n}") for n in range(6) for replica in (0, 1)
    }
    for stream in streams.values():
        assert await _next(stream) == "open"
    # Several persons, so that both replicas have partitions to consume.
    await world.publish(*(request(f"first{n}", f"p{n}") for n in range(6)))
    last = {}
    for (n, _), stream in streams.items():
        event = await _next(stream)
        assert event["event"] == "message"
        assert json.loads(event["data"])["id"] == f"first{n}"
        last[n] = event["id"]
        await stream.aclose()  # type: ignore[attr-defined]
    await world.publish(request("second0", "p0"), request("third0", "p0"))

    async def there() -> bool:
        return len(await world.inbox("p0")) == 3

    await eventually(there)
    again = _stream(world, 1, "p0", **{"Last-Event-ID": last[0]})
    assert await _next(again) == "open"
    assert [json.loads((await _next(again))["data"])["id"] for _ in range(2)] in (
        ["second0", "third0"],
        ["third0", "second0"],
    )
    await again.aclose()  # type: ignore[attr-defined]


async def test_nothing_is_lost_or_sent_too_often_when_replicas_are_killed(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    count = 60
    people = [f"p{n}" for n in range(count)]
    await world.publish(*(person(world, p) for p in people))
    words = ["take", "lose", "busy", "take", "close", "hang"]
    mails.script.extend(words[n % 6] for n in range(36))
    hooks.script.extend({"take": "204", "busy": "500"}.get(w, w) for w in list(mails.script))
    requests = [request(f"n{n}", p) for n, p in enumerate(people)]
    await world.publish(*requests, *requests)  # each of them twice

    async def begun() -> bool:
        return len(mails.mails) > 5

    await eventually(begun)
    for name in REPLICAS:
        await asyncio.to_thread(world.stop, name, signal.SIGKILL)
        await asyncio.to_thread(world.start, name)
    rows = await world.settled(2 * count, seconds=90)

    assert {r["status"] for r in rows if r["channel"] == "webhook"} == {"sent"}
    keys: dict[str, set[str]] = {}
    for r in hooks.received:
        keys.setdefault(r.data["notification_id"], set()).add(r.key)
    assert len(keys) == count
    assert all(len(k) == 1 for k in keys.values())
    ids = Counter(m.message_id for m in mails.mails)
    assert max(ids.values()) <= 2
    for row in (r for r in rows if r["channel"] == "email"):
        sent = ids[f"<{row['key']}@hospital.test>"]
        assert sent >= 1 or row["reason"] == "answer_lost"
    for p in people:
        assert len(await world.inbox(p)) == 1


async def test_a_replica_that_is_asked_to_stop_finishes_its_calls(
    world: World, mails: MailServer, hooks: WebhookReceiver
) -> None:
    await world.publish(*(person(world, f"p{n}", webhook=None) for n in range(30)))
    await world.publish(*(request(f"n{n}", f"p{n}") for n in range(30)))

    async def begun() -> bool:
        return bool(mails.mails)

    await eventually(begun)
    await asyncio.to_thread(world.stop, REPLICAS[1], signal.SIGTERM)
    rows = await world.settled(30)
    await asyncio.to_thread(world.start, REPLICAS[1])
    assert {(r["status"], r["attempt"], r["lost"]) for r in rows} == {("sent", 1, 0)}
    assert max(Counter(m.message_id for m in mails.mails).values()) == 1
