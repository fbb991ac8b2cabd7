"""Enrollment as a process of its own over the run's broker and database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest

from libs.common.cloudevents import CloudEvent, decode, encode
from libs.common.devstack.stack import Stack
from libs.common.events import EVENT_TYPES, Event, NotificationRequested
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from tests.support.topics import own_topics

#: Seconds that an event may take through two processes on a busy machine.
PATIENCE = 40.0


@dataclass(frozen=True)
class Row:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass
class Hospital:
    """One hospital of its own for each test: nobody else's events or documents."""

    stack: Stack
    url: str
    name: str = field(default_factory=lambda: "it-" + uuid.uuid4().hex[:10])

    async def publish(self, *events: tuple[str, Event]) -> None:
        """Events with their ids, as a hospital's systems send them."""
        rows = []
        for event_id, data in events:
            record = encode(
                CloudEvent(
                    id=event_id,
                    source="/systems/his",
                    type=data.TYPE,
                    subject=str(getattr(data, data.SUBJECT)),
                    time=datetime.now(UTC).replace(microsecond=0),
                    hospital=self.name,
                    data=data,
                )
            )
            rows.append(Row(data.TOPIC, record.key, record.value, record.headers))
        producer = Producer(self.stack.bootstrap)
        await producer.start()
        try:
            while rows:
                sent = {id(r) for r in await producer.send(rows)}
                rows = [r for r in rows if id(r) not in sent]
        finally:
            await producer.stop()

    async def heard(
        self, topic: str, until: Callable[[list[CloudEvent]], bool]
    ) -> list[CloudEvent]:
        """This hospital's events of ``topic``, once ``until`` is satisfied."""
        found: list[CloudEvent] = []
        async with asyncio.timeout(PATIENCE):
            async for record in read_all(self.stack.bootstrap, [topic]):
                if dict(record.headers).get("ce_hospital") != self.name.encode():
                    continue
                found.append(decode(record.headers, record.value, EVENT_TYPES))
                if until(found):
                    return found
        raise AssertionError("the topic ended")

    async def token_of(self, person: str) -> str:
        """What the person finds in the link that they were sent last."""

        def links(events: list[CloudEvent]) -> list[str]:
            return [
                e.data.link or ""
                for e in events
                if isinstance(e.data, NotificationRequested) and e.data.recipient_id == person
            ]

        heard = await self.heard("notify.requests", lambda found: bool(links(found)))
        return links(heard)[-1].partition("#token=")[2]

    def client(
        self, *roles: str, person: str = "", departments: tuple[str, ...] = ()
    ) -> httpx.AsyncClient:
        """A client with a token of these roles; without roles, with no token."""
        headers = {"Accept-Language": "en"}
        if roles:
            token = self.stack.issuer().token(
                person=person, hospital=self.name, roles=roles, departments=departments
            )
            headers["Authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)


@pytest.fixture(scope="module")
def service(stack: Stack) -> Iterator[str]:
    mine = uuid.uuid4().hex[:8]
    asyncio.run(own_topics(stack.bootstrap, f"enrollment.{mine}"))
    environment = {"MONGO_DATABASE": f"enrollment_{mine}", "KAFKA_GROUP": f"enrollment.{mine}"}
    stack.migrate("enrollment", environment=environment)
    stack.start_service("enrollment", environment=environment)
    yield stack.service_url("enrollment")
    stack.remove("enrollment")


@pytest.fixture
async def hospital(stack: Stack, service: str) -> AsyncIterator[Hospital]:
    yield Hospital(stack, service)
