"""Two replicas of the service in the test's own process, under a clock that can be set.

The service as ``main.py`` wires it, on the run's real broker and database. Its database
and consumer group are the test run's own; topics are shared, so each test takes a hospital
of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from libs.common.clock import Ports, SystemClock
from libs.common.cloudevents import CloudEvent, decode, encode
from libs.common.dev_issuer import JWKS_FILE, DevelopmentIssuer
from libs.common.devstack.stack import Stack
from libs.common.events import EVENT_TYPES, Event
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.migrate import migrate
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.service import build
from services.prescriptions.main import SPEC, new_spec
from tests.support import stored
from tests.support.access import client
from tests.support.topics import own_topics
from tests.support.toy import eventually

ISSUER = "http://127.0.0.1/dev-issuer"


class MovableClock(SystemClock):
    """The machine's clock, set forward by ``ahead``."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass(frozen=True)
class Replicas:
    """Replicas that share a database, and the means to talk to them."""

    stack: Stack
    apps: list[FastAPI]
    issuer: DevelopmentIssuer
    clock: MovableClock
    database: Database
    producer: Producer

    def caller(
        self,
        person: str,
        *roles: str,
        hospital: str,
        departments: Iterable[str] = (),
        replica: int = 0,
    ) -> httpx.AsyncClient:
        """A client of one replica with this person's token."""
        token = self.issuer.token(
            person=person, hospital=hospital, roles=roles, departments=departments
        )
        return client(self.apps[replica], Authorization=f"Bearer {token}")

    async def publish(self, hospital: str, *facts: Event) -> None:
        """Publish as a hospital's systems would; returns when the broker has them."""
        records = []
        for fact in facts:
            event = CloudEvent(
                id=uuid.uuid4().hex,
                source="/test/his",
                type=fact.TYPE,
                subject=str(getattr(fact, fact.SUBJECT)),
                time=self.clock.now(),
                hospital=hospital,
                data=fact,
            )
            record = encode(event)
            records.append(_Outgoing(fact.TOPIC, record.key, record.value, record.headers))
        while records:
            sent = {id(r) for r in await self.producer.send(records)}
            records = [r for r in records if id(r) not in sent]

    async def published(
        self, hospital: str, topics: Iterable[str], until: Callable[[list[CloudEvent]], bool]
    ) -> list[CloudEvent]:
        """What came out for ``hospital``, each once, as soon as ``until`` is so."""
        found: dict[str, CloudEvent] = {}
        async with asyncio.timeout(30):
            async for record in read_all(self.stack.bootstrap, list(topics)):
                if ("ce_hospital", hospital.encode()) in record.headers:
                    event = decode(record.headers, record.value, EVENT_TYPES)
                    found.setdefault(event.id, event)
                    if until(list(found.values())):
                        break
        return list(found.values())

    async def rows(self, collection: str, hospital: str) -> list[Row]:
        return await stored.rows(
            self.database, SPEC.collections, collection, {"hospital": hospital}
        )


@dataclass(frozen=True)
class _Outgoing:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Any


@asynccontextmanager
async def replicas(stack: Stack, folder: Path, count: int = 2) -> AsyncIterator[Replicas]:
    """Start ``count`` of them; they are ready."""
    name = f"test-prescriptions-{uuid.uuid4().hex[:8]}"
    clock = MovableClock()
    ports = Ports(clock=clock)
    issuer = DevelopmentIssuer.at(folder, issuer=ISSUER, ports=ports)
    settings = SPEC.settings(
        environment="development",
        log_level="WARNING",
        kafka_bootstrap_servers=stack.bootstrap,
        kafka_group=name,
        mongo_url=stack.mongo_url,
        cipher_keys_dir=stack.service_environment()["CIPHER_KEYS_DIR"],
        mongo_database=name,
        oidc_issuer=ISSUER,
        oidc_audience=issuer.audience,
        oidc_jwks_url=(folder / JWKS_FILE).as_uri(),
        trace_sample_ratio=0.0,
        signing_keys_dir=folder / "signing-keys",
    )
    await own_topics(stack.bootstrap, name)
    database, producer = stack.database(name), Producer(stack.bootstrap)
    await migrate(database, SPEC.collections)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(database.close)
        opened.push_async_callback(database.drop)
        await producer.start()
        opened.push_async_callback(producer.stop)
        apps = [build(new_spec(), settings, ports) for _ in range(count)]
        for app in apps:
            await opened.enter_async_context(app.router.lifespan_context(app))

        async def ready() -> bool:
            return not any(app.state.runtime.readiness.why_not() for app in apps)

        await eventually(ready, 30)
        yield Replicas(stack, apps, issuer, clock, database, producer)
