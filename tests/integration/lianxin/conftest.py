"""Services of one test's own, and the command line beside them as a process."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common import logs
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import Event
from libs.common.kafka.producer import Producer
from libs.common.kafka.record import Outgoing
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.replays import Copy
from tests.support.running import Running, running

HIS = "/test/his"


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        assert self.out, f"{self.code}: {self.err}"
        return json.loads(self.out)


@dataclass
class World:
    """A hospital, the names of its services' groups and databases, and what a test does."""

    stack: Stack
    prefix: str = field(default_factory=lambda: f"cli-{uuid.uuid4().hex[:8]}")
    hospital: str = field(default_factory=lambda: f"h{uuid.uuid4().hex[:8]}")
    ports: dict[str, int] = field(default_factory=dict)
    databases: set[str] = field(default_factory=set)
    patience: float = 120.0

    @asynccontextmanager
    async def service(self, name: str, **settings: Any) -> AsyncIterator[Running]:
        """It runs here, and its HTTP API answers at a port of its own."""
        spec = importlib.import_module(f"services.{name}.main").SPEC
        self.databases.add(f"{self.prefix}-{name}")
        async with running(self.stack, spec, name=f"{self.prefix}-{name}", **settings) as found:
            found.hospital = self.hospital
            (port,) = free_ports(1)
            self.ports[name] = port
            config = uvicorn.Config(found.app, port=port, log_config=None, lifespan="off")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(), name=f"{name}-http")
            try:
                yield found
            finally:
                server.should_exit = True
                await serving
                del self.ports[name]

    async def begin_here(self, service: str) -> None:
        """Its group reads nothing of what other tests have sent before."""
        spec = importlib.import_module(f"services.{service}.main").SPEC
        async with AIOKafkaConsumer(
            bootstrap_servers=self.stack.bootstrap,
            group_id=f"{self.prefix}-{service}",
            enable_auto_commit=False,
        ) as client:
            await client._client.set_topics(spec.topics)
            places = [
                TopicPartition(topic, partition)
                for topic in spec.topics
                for partition in client.partitions_for_topic(topic)
            ]
            client.assign(places)
            await client.commit(await client.end_offsets(places))

    async def remove(self) -> None:
        for name in self.databases:
            database = Database(self.stack.mongo_url, name)
            await database.drop()
            await database.close()

    def environment(self) -> dict[str, str]:
        ports = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        return {
            "PATH": os.environ["PATH"],
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap,
            "MONGO_URL": self.stack.mongo_url,
            "LIANXIN_GROUP": f"{self.prefix}-{{service}}",
            "LIANXIN_DATABASE": f"{self.prefix}-{{service}}",
            "LIANXIN_URL": "http://127.0.0.1:{port}",
            "LIANXIN_OPERATOR": "ann",
            **ports,
        }

    async def lianxin(self, *arguments: str, **environment: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lianxin",
            *arguments,
            cwd=ROOT,
            env=self.environment() | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 100)
        except TimeoutError:
            process.kill()
            raise
        assert b"Traceback" not in err, err.decode()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    def copy_of(self, data: Event, id: str, **headers: bytes) -> Copy:
        """The event as a hospital system sends it; ``headers`` instead of its own."""
        record = encode(
            CloudEvent(
                id=id,
                source=HIS,
                type=data.TYPE,
                subject=str(getattr(data, data.SUBJECT)),
                time=datetime.now(UTC).replace(microsecond=0),
                hospital=self.hospital,
                data=data,
            )
        )
        changed = list((dict(record.headers) | headers).items())
        return Copy(data.TOPIC, record.key, record.value, changed)

    async def publish(self, *events: tuple[str, Event]) -> None:
        await self.send(*(self.copy_of(data, id) for id, data in events))

    async def send(self, *rows: Outgoing) -> None:
        left: Sequence[Outgoing] = rows
        producer = Producer(self.stack.bootstrap)
        await producer.start()
        while left:
            sent = {id(r) for r in await producer.send(left)}
            left = [r for r in left if id(r) not in sent]
        await producer.stop()

    async def inbox(self, of: Running, id: str) -> Row | None:
        raw = of.database.raw("inbox")
        rows = await of.database.find_rows(raw, {"_id": f"{self.hospital}|{HIS}|{id}"})
        return rows[0] if rows else None

    async def audit(self, service: str) -> list[Row]:
        async with AsyncExitStack() as exits:
            database = Database(self.stack.mongo_url, f"{self.prefix}-{service}")
            exits.push_async_callback(database.close)
            rows = await database.find_rows(database.raw("audit"), {})
            return [row for row in rows if row["source"]["observer"] == "/lianxin"]


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    logs.configure("test", level="WARNING")


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    found = World(stack)
    for service in ("enrollment", "notify"):
        await found.begin_here(service)
    yield found
    await found.remove()
