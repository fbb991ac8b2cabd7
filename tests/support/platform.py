"""The platform as an installation runs it, for tests that harm it.

All services, enrollment twice, are child processes over a broker and a database of their
own. ``Hospital`` is what one test has of it: a tenant of its own that publishes, calls and
looks into topics and collections, and does not give up while parts are away.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import yaml
from aiokafka.errors import KafkaError

from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.child import Child
from libs.common.devstack.places import ROOT, SERVICES, free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import Event
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Unavailable
from tests.support import stored, topics

T = TypeVar("T")

#: Everything that is killed, in turn; two of enrollment.
REPLICAS = (*SERVICES, "enrollment-2")
PARTS = (*REPLICAS, "kafka", "mongo")
GROUPS: Mapping[str, Sequence[str]] = {
    f"lianxin.{name}": read
    for name in SERVICES
    if (read := import_module(f"services.{name}.main").SPEC.topics)
}
COLLECTIONS: Mapping[str, Sequence[CollectionSpec[Any]]] = {
    name: import_module(f"services.{name}.main").SPEC.collections for name in SERVICES
}
#: The programme whose groups are full after so many; the others have the usual limit.
SMALL = ("cardio", 5)
#: Seconds for all that was left undone to be done again. A consumer that was killed is
#: missed by its group for 15 s; the machine may be busy.
PATIENCE = 200.0


def policies(folder: Path) -> Path:
    """The policies as they are, but for one small group and short waits for providers."""
    copy = folder / "policies"
    shutil.copytree(ROOT / "policies", copy)
    programme, limit = SMALL
    with (copy / "programmes" / f"{programme}.yaml").open("a", encoding="utf-8") as file:
        file.write(f"group_limit: {limit}\n")
    for path in (copy / "notify").glob("*.yaml"):
        figures = yaml.safe_load(path.read_bytes())
        for channel in figures["channels"].values():
            channel |= {"first": 1, "cap": 3}
        path.write_text(yaml.safe_dump(figures), encoding="utf-8")
    return copy


@dataclass(frozen=True)
class Platform:
    """All of it, running; ``smtp`` and ``webhook`` are where providers are expected."""

    stack: Stack
    smtp: int
    webhook: int

    @classmethod
    def over(cls, stack: Stack) -> Platform:
        """Start the services over ``stack``, whose broker and database run."""
        smtp, webhook = free_ports(2)
        stack.environment |= {
            "POLICIES_DIR": str(policies(stack.folder)),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(smtp),
            "SMTP_SECURITY": "none",
            "SMTP_FROM": "lianxin@hospital.example",
            "SMTP_TIMEOUT": "2",
            "WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"k" * 32).decode(),
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "WEBHOOK_TIMEOUT": "2",
            "LINGER_SECONDS": "3",  # the machine may be busy
        }
        stack.migrate(*SERVICES)
        for name in SERVICES:
            stack.start_service(name, wait=False)
        stack.start_service("enrollment", replica=2, wait=False)
        stack.wait_ready(*REPLICAS)
        return cls(stack, smtp, webhook)

    def heal(self) -> None:
        """What an earlier test left down comes up again, so that one failure is one failure."""
        for name in ("kafka", "mongo", *REPLICAS):
            if not self.stack.parts[name].running():
                self.stack.parts[name].start()
        self.stack.wait_ready(*PARTS)

    async def kill(self, part: str, sig: signal.Signals = signal.SIGKILL) -> None:
        await asyncio.to_thread(self.stack.kill, part, sig)

    async def start(self, part: str, *, wait: bool = True) -> None:
        await asyncio.to_thread(self.stack.restart, part, wait=wait)

    def pids(self) -> dict[str, int]:
        """Of the services: the same ones afterwards, if nobody had to be started again."""
        children = {name: self.stack.parts[name] for name in REPLICAS}
        return {n: c.pid for n, c in children.items() if isinstance(c, Child) and c.running()}

    def last_words(self) -> str:
        """Which parts are down, what each service said last, without the libraries that it
        uses, and where its tasks stand: for where nobody can look again."""
        told = [f"{name} is down" for name in PARTS if not self.stack.parts[name].running()]
        for pid in self.pids().values():
            os.kill(pid, signal.SIGUSR1)
        time.sleep(1)  # nothing else goes on by now
        for name in REPLICAS:
            part = self.stack.parts[name]
            if isinstance(part, Child) and part.log.exists():
                lines = part.log.read_text(errors="replace").splitlines()
                own = [line for line in lines if '"library_log"' not in line]
                told += [f"{name}: {line[:400]}" for line in own[-30:]]
        return "\n".join(told)

    async def metrics(self, replica: str, name: str) -> float:
        """The sum of a metric of one process over its labels."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.stack.service_url(replica)}/metrics")
        lines = [x for x in answer.text.splitlines() if x.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as bytes, for what is no event."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: whose, and what of it can be told."""

    consumer: str
    topic: str
    reason: str
    place: str
    value: bytes | None


class Hospital:
    """``async with Hospital(platform) as h``: one tenant, from outside and from inside."""

    def __init__(self, platform: Platform, id: str = "") -> None:
        self.platform, self.stack = platform, platform.stack
        self.id = id or f"h{uuid.uuid4().hex[:8]}"
        self.ports = Ports()
        self._issuer = self.stack.issuer()
        self._tokens: dict[tuple[str, ...], str] = {}
        self._producer: Producer | None = None
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self._databases = {n: self.stack.database(f"lianxin_{n}") for n in SERVICES}
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._producer is not None:
            await self._producer.abandon()
        await self.http.aclose()
        for database in self._databases.values():
            await database.close()

    # -- as a system of the hospital ----------------------------------------------------

    def event(self, data: Event, id: str = "", **changes: Any) -> CloudEvent:
        event = CloudEvent(
            id=id or str(uuid.uuid4()),
            source=f"/hospitals/{self.id}/his",
            type=data.TYPE,
            subject=str(getattr(data, data.SUBJECT)),
            time=self.ports.clock.now(),
            hospital=self.id,
            data=data,
        )
        return event._replace(**changes)

    async def publish(self, *given: Event | CloudEvent | Raw) -> None:
        """Until the broker has acknowledged every one, however long it is away."""
        rows = []
        for item in given:
            if isinstance(item, Raw):
                rows.append(item)
            else:
                event = item if isinstance(item, CloudEvent) else self.event(item)
                rows.append(Raw(event.data.TOPIC, *encode(event)))
        async with self._sending:
            while rows:
                try:
                    if self._producer is None:
                        producer = Producer(self.stack.bootstrap)
                        await producer.start()
                        self._producer = producer
                    taken = set(map(id, await self._producer.send(rows)))
                    rows = [r for r in rows if id(r) not in taken]
                except BusError:
                    if self._producer is not None:
                        await self._producer.abandon()
                        self._producer = None
                    await asyncio.sleep(0.3)

    # -- as a person --------------------------------------------------------------------

    def headers(self, person: str, *roles: str, departments: Sequence[str] = ()) -> dict[str, str]:
        key = (person, *roles, "", *departments)
        if key not in self._tokens:
            self._tokens[key] = self._issuer.token(
                person=person, hospital=self.id, roles=roles, departments=departments
            )
        return {"Authorization": f"Bearer {self._tokens[key]}"}

    async def call(
        self,
        method: str,
        replica: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        key: str = "",
    ) -> httpx.Response:
        """One request, as it is answered."""
        told = {"Idempotency-Key": key} if key else {}
        url = self.stack.service_url(replica) + path
        return await self.http.request(method, url, json=body, headers={**told, **(headers or {})})

    async def insist(self, method: str, replica: str, path: str, **more: Any) -> httpx.Response:
        """The same request until it is answered: what a good client does meanwhile."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                answer = await self.call(method, replica, path, **more)
                if answer.status_code != 503 or time.monotonic() > until:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.3)

    # -- from inside --------------------------------------------------------------------

    def database(self, service: str) -> Database:
        return self._databases[service]

    async def rows(self, service: str, collection: str, **where: Any) -> list[Row]:
        query = {"hospital": self.id, **where}
        return await stored.rows(self._databases[service], COLLECTIONS[service], collection, query)

    async def untold(self, service: str) -> list[str]:
        """The topics of what a service has committed and not yet sent, for all hospitals."""
        database = self._databases[service]
        return [row["topic"] for row in await database.find_rows(database.raw("outbox"), {})]

    async def standing(self, *names: str) -> list[CloudEvent]:
        """All of the hospital's events on these topics, as often as they stand there."""
        return topics.events(await topics.standing(self.stack.bootstrap, *names), self.id)

    async def letters(self) -> list[Letter]:
        """The hospital's dead letters, by its key; each once, though they may come twice."""
        records = await topics.standing(self.stack.bootstrap, *(f"{group}.dlq" for group in GROUPS))
        found = {}
        for record in records:
            if (record.key or b"").startswith(f"{self.id}/".encode()):
                h = {k: v.decode() for k, v in record.headers if k.startswith("dlq_")}
                place = f"{h['dlq_topic']}-{h['dlq_partition']}-{h['dlq_offset']}"
                letter = Letter(
                    h["dlq_consumer"], h["dlq_topic"], h["dlq_reason"], place, record.value
                )
                found[letter.consumer, place] = letter
        return list(found.values())

    async def settled(self, within: float = PATIENCE) -> None:
        """Everything that was published has been handled, told on and called out."""
        left = ""

        async def nothing() -> bool:
            nonlocal left
            before = await self._left()
            lags = await topics.behind(self.stack.bootstrap, GROUPS)
            # Again after the lags: what a consumer wrote meanwhile must be out, too.
            left = before or await self._left() or str({g: n for g, n in lags.items() if n} or "")
            return not left

        try:
            await eventually(nothing, within, every=0.5)
        except TimeoutError:
            raise AssertionError(
                f"not settled within {within:.0f} s: {left}\n{self.platform.last_words()}"
            ) from None

    async def _left(self) -> str:
        for service in SERVICES:
            if topics := await self.untold(service):
                return f"{service} has not sent {len(topics)} events, as to {topics[0]}"
        calls = await self.rows("notify", "deliveries", next_attempt_at={"$ne": None})
        return f"{len(calls)} deliveries are under way" if calls else ""


async def eventually(
    look: Callable[[], Awaitable[T]], within: float = PATIENCE, every: float = 0.2
) -> T:
    """The first true answer of ``look``; while parts are away it has none."""
    async with asyncio.timeout(within):
        while True:
            try:
                if found := await look():
                    return found
            except (Unavailable, BusError, KafkaError, httpx.TransportError, OSError):
                pass
            await asyncio.sleep(every)
