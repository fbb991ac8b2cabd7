"""One service, whole, in the test's own loop: real broker, real database, real routes.

Each has a database, a consumer group and a hospital of its own, so tests on one broker do
not meet although they share its topics.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from libs.common import telemetry
from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, decode, encode
from libs.common.devstack.stack import Stack
from libs.common.events import EVENT_TYPES, Event
from libs.common.http.app import create_app
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.migrate import migrate
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.runtime import Runtime, ServiceSpec
from tests.support import stored
from tests.support.access import Callers, client
from tests.support.topics import own_topics
from tests.support.toy import eventually

E = TypeVar("E", bound=Event)
SOURCE = "/test"


@dataclass(frozen=True)
class _Outgoing:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass
class Running:
    """A running service and what a test does with it."""

    stack: Stack
    app: FastAPI
    runtime: Runtime
    callers: Callers
    hospital: str

    @property
    def database(self) -> Database:
        return self.runtime.database

    def now(self) -> datetime:
        return self.runtime.ports.clock.now()

    async def publish(self, *events: Event | tuple[str, Event]) -> None:
        """As the hospital's systems or another service would; with an id to repeat one."""
        rows = []
        for given in events:
            id, event = given if isinstance(given, tuple) else (str(uuid.uuid4()), given)
            record = encode(
                CloudEvent(
                    id=id,
                    source=SOURCE,
                    type=event.TYPE,
                    subject=str(getattr(event, event.SUBJECT)),
                    time=self.now(),
                    hospital=self.hospital,
                    data=event,
                )
            )
            rows.append(_Outgoing(event.TOPIC, record.key, record.value, record.headers))
        producer = Producer(self.stack.bootstrap)
        await producer.start()
        while rows:
            sent = await producer.send(rows)
            rows = [r for r in rows if r not in sent]
        await producer.stop()

    async def published(self, model: type[E], count: int = 1, seconds: float = 30) -> list[E]:
        """The first ``count`` events of one type that came out for this hospital."""
        found: dict[str, E] = {}
        async with asyncio.timeout(seconds):
            async for record in read_all(self.stack.bootstrap, [model.TOPIC]):
                headers = dict(record.headers)
                if headers.get("ce_type") != model.TYPE.encode():
                    continue
                if headers.get("ce_hospital") != self.hospital.encode():
                    continue
                event = decode(record.headers, record.value, EVENT_TYPES)
                assert isinstance(event.data, model)
                found[event.id] = event.data
                if len(found) == count:
                    return list(found.values())
        raise AssertionError("the topic ended")

    def headers(self, *roles: str, person: str, departments: Iterable[str] = ()) -> dict[str, str]:
        return self.callers.headers(
            *roles, person=person, hospital=self.hospital, departments=departments
        )

    def client(
        self, *roles: str, person: str, departments: Iterable[str] = ()
    ) -> httpx.AsyncClient:
        headers = self.headers(*roles, person=person, departments=departments)
        return client(self.app, **headers)

    async def rows(self, collection: str, **where: Any) -> list[Row]:
        query = {"hospital": self.hospital, **where}
        return await stored.rows(self.database, self.runtime.spec.collections, collection, query)


@asynccontextmanager
async def running(
    stack: Stack, spec: ServiceSpec, *, name: Any = "", **settings: Any
) -> AsyncIterator[Running]:
    """``spec`` as a process would run it, ready. ``name`` is its group's and its database's; one
    that is given may be run again, and whoever gave it drops the database."""
    kept, name = name, name or f"test-{spec.name}-{uuid.uuid4().hex[:8]}"
    chosen = spec.settings(
        environment="development",
        kafka_bootstrap_servers=stack.bootstrap,
        kafka_group=name,
        mongo_url=stack.mongo_url,
        cipher_keys_dir=stack.service_environment()["CIPHER_KEYS_DIR"],
        mongo_database=name,
        **settings,
    )
    await own_topics(stack.bootstrap, name)
    preparing = stack.database(name)
    await migrate(preparing, spec.collections, spec.lives(chosen), spec.buckets)
    ports = Ports()
    callers = Callers(ports)
    traces = telemetry.setup(spec.name, sample_ratio=0.0, install=False)
    runtime = Runtime(spec, chosen, ports, traces)
    app = create_app(
        title=spec.name,
        routers=spec.routers,
        access=spec.access,
        verifier=callers.verifier,
        ports=ports,
        texts=spec.texts,
        dialects=spec.dialects(chosen),
        not_ready=runtime.readiness.why_not,
    )
    app.state.runtime, app.state.commands = runtime, runtime.commands
    app.state.audit = runtime.audit
    async with AsyncExitStack() as exits:
        exits.push_async_callback(preparing.close)
        if not kept:
            exits.push_async_callback(preparing.drop)
        await exits.enter_async_context(runtime.running())

        async def ready() -> bool:
            return not runtime.readiness.why_not()

        await eventually(ready, 30)
        yield Running(stack, app, runtime, callers, f"h{uuid.uuid4().hex[:8]}")
