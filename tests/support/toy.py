"""A service as small as can be, to try the runtime on: it tallies ticks per name.

Each test gets topics, a database and a consumer group of its own, so tests don't meet.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, Record, decode, encode
from libs.common.commands import Commands
from libs.common.consumer import BATCH_RECORDS, Consumer
from libs.common.dead_letters import DeadLetters
from libs.common.decision import (
    Answer,
    Decision,
    Document,
    Emit,
    Env,
    Handler,
    Input,
    Need,
    Refusal,
    State,
    Timer,
    by_id,
)
from libs.common.engine import Engine
from libs.common.events import Event
from libs.common.events.base import Sensitive
from libs.common.kafka.member import ConsumerClient
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.kafka.record import Outgoing
from libs.common.kafka.topics import TopicSpec, create_topics
from libs.common.lease import Lease
from libs.common.migrate import migrate
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Unavailable
from libs.common.relay import Relay
from libs.common.replays import replay_topic
from libs.common.telemetry import Tracer
from libs.common.timers import Timers

HOSPITAL = "h1"


class Tally(Document):
    COLLECTION: ClassVar[str] = "tallies"

    count: int = 0
    last: str = ""
    group: str = "a"
    remark: Sensitive[str | None] = None


class Ticked(Event):
    """``then``: ``ok``, ``refuse``, ``crash`` (a bug), ``huge`` (can't be stored), ``later``,
    ``anew`` (whatever was counted before)."""

    TYPE: ClassVar[str] = "test.ticked.v1"
    TOPIC: ClassVar[str] = "toy.in"
    KEY: ClassVar[str] = "name"
    SUBJECT: ClassVar[str] = "name"

    name: str
    n: int
    then: str = "ok"
    pad: str = ""


class Tallied(Event):
    TYPE: ClassVar[str] = "test.tallied.v1"
    TOPIC: ClassVar[str] = "toy.out"
    KEY: ClassVar[str] = "name"
    SUBJECT: ClassVar[str] = "name"

    name: str
    count: int
    n: int
    pad: str = ""


class Later(Event):
    TYPE: ClassVar[str] = "test.later.v1"
    TOPIC: ClassVar[str] = "toy.out"
    KEY: ClassVar[str] = "name"
    SUBJECT: ClassVar[str] = "name"

    name: str
    n: int
    then: str = "ok"
    pad: str = ""


SPEC = CollectionSpec(Tally, indexes=(Index(("group",)),))


def needs(input: Input, _state: State) -> list[Need]:
    return by_id(Tally, input.data.name)


class Broken:
    """Switch for a bug that is later mended."""

    on = False


def tick(out: type[Event]) -> Callable[[Input, State, Env], Answer]:
    def decide(input: Input, state: State, env: Env) -> Answer:
        data = input.data
        if data.then == "crash" or Broken.on:
            raise RuntimeError("a bug")
        tally = state.get(Tally, data.name) or Tally(id=data.name, hospital=input.hospital)
        if data.then == "anew":
            tally = Tally(id=data.name, hospital=input.hospital)
        if data.then == "refuse":
            return Refusal("no_more", changes=(), detail="because")
        if data.then == "overflow":
            tally = tally.but(count=2**70)  # no BSON integer
        last = "x" * 17_000_000 if data.then == "huge" else str(data.n)
        tally = tally.but(count=tally.count + 1, last=last, remark=f"remark {data.n}")
        timers: tuple[Timer, ...] = ()
        if data.then == "later":
            due = env.now + timedelta(seconds=0.3)
            body = {"name": data.name, "n": data.n}
            timers = (Timer(f"later/{data.name}", due, "toy.later", data.name, body),)
        return Decision(
            changes=(tally,),
            events=(
                Emit(out(name=data.name, count=tally.count, n=data.n, pad=data.pad), about=tally),
            ),
            timers=timers,
            result={"count": tally.count},
        )

    return decide


@dataclass
class Toy:
    """One toy service's world; ``replica`` starts processes of it (as tasks)."""

    bootstrap: str
    mongo_url: str
    name: str = field(default_factory=lambda: "toy" + uuid.uuid4().hex[:8])
    ports: Ports = field(default_factory=Ports)

    def __post_init__(self) -> None:
        self.topic_in, self.topic_out = f"{self.name}.in", f"{self.name}.out"
        self.ticked = type("Ticked", (Ticked,), {"TOPIC": self.topic_in})
        self.tallied = type("Tallied", (Tallied,), {"TOPIC": self.topic_out})
        decide = tick(self.tallied)
        self.handlers = {
            Ticked.TYPE: Handler(self.ticked, needs, decide),
            "toy.tick": Handler(self.ticked, needs, decide),
            "toy.later": Handler(Later, needs, decide),
        }
        self.database = Database(self.mongo_url, self.name)
        self.databases: list[Database] = []

    async def prepare(self, partitions: int = 3) -> None:
        largest = {"max.message.bytes": str(4 * 1024 * 1024)}
        letters = {"max.message.bytes": str(16 * 1024 * 1024)}
        await create_topics(
            self.bootstrap,
            [
                TopicSpec(self.topic_in, partitions, 1, largest),
                TopicSpec(self.topic_out, partitions, 1, {}),
                TopicSpec(f"{self.name}.dlq", 1, 1, letters),
                TopicSpec(replay_topic(self.name), 1, 1, letters),
            ],
        )
        await migrate(self.database, [SPEC])

    def replica(self, **parts: Any) -> Replica:
        database = Database(self.mongo_url, self.name)
        self.databases.append(database)
        return Replica(self, database, **parts)

    async def remove(self) -> None:
        await self.database.drop()
        for database in (self.database, *self.databases):
            await database.close()

    def event(self, name: str, n: int, *, id: str | None = None, **more: Any) -> Record:
        time = more.pop("time", None) or datetime.now(UTC).replace(microsecond=0)
        return encode(
            CloudEvent(
                id=id or f"{name}-{n}",
                source=more.pop("source", "/test"),
                type=Ticked.TYPE,
                subject=name,
                time=time,
                hospital=HOSPITAL,
                data=self.ticked(name=name, n=n, **more),
                sequence=n,
            )
        )

    async def publish(self, records: Iterable[Record]) -> None:
        await self.send(_Row(self.topic_in, r.key, r.value, r.headers) for r in records)

    async def send(self, given: Iterable[Outgoing]) -> None:
        rows, producer = list(given), Producer(self.bootstrap)
        await producer.start()
        while rows:
            sent = {id(r) for r in await producer.send(rows)}
            rows = [r for r in rows if id(r) not in sent]
        await producer.stop()

    async def published(self, until: Callable[[list[CloudEvent]], bool]) -> list[CloudEvent]:
        """What came out, in each partition's order, once ``until`` is satisfied."""
        found: list[CloudEvent] = []
        async for record in read_all(self.bootstrap, [self.topic_out]):
            found.append(decode(record.headers, record.value, {Tallied.TYPE: self.tallied}))
            if until(found):
                return found
        raise AssertionError("the topic ended")

    async def letters(self, count: int) -> list[Mapping[str, str]]:
        found: list[Mapping[str, str]] = []
        async for record in read_all(self.bootstrap, [f"{self.name}.dlq"]):
            found.append({k: v.decode() for k, v in record.headers if k.startswith("dlq_")})
            if len(found) == count:
                return found
        raise AssertionError("the topic ended")

    async def tallies(self) -> dict[str, int]:
        rows: list[Row] = await self.database.find_rows(self.database.raw("tallies"), {})
        return {r["id"]: r["count"] for r in rows}

    async def rows(self, collection: str) -> list[Row]:
        return await self.database.find_rows(self.database.raw(collection), {})


@dataclass(frozen=True)
class _Row:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Replica:
    """One process' worth of the toy service, as tasks of the test."""

    def __init__(
        self,
        toy: Toy,
        database: Database,
        *,
        tracer: Tracer | None = None,
        producer: Callable[[], Producer] | None = None,
        client: Callable[..., ConsumerClient] = ConsumerClient,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        self.database = database
        tracer = tracer or Tracer(toy.name, 0.0, None)
        producer = producer or (lambda: Producer(toy.bootstrap))
        self.lease = Lease(database, "owner", toy.ports, term=2.0)
        self.relay = Relay(
            database=database,
            lease=self.lease,
            new_producer=producer,
            ports=toy.ports,
            tracer=tracer,
        )
        self.engine = Engine(
            service=toy.name,
            database=database,
            collections=[SPEC],
            handlers=toy.handlers,
            policy=None,
            relay=self.relay,
            ports=toy.ports,
            tracer=tracer,
        )
        self.commands = Commands(engine=self.engine, relay=self.relay, ports=toy.ports)
        self.timers = Timers(
            database=database,
            lease=self.lease,
            engine=self.engine,
            handlers=toy.handlers,
            ports=toy.ports,
        )
        self.consumer = Consumer(
            group=toy.name,
            new_client=lambda revoked: client(
                toy.bootstrap, toy.name, [toy.topic_in, replay_topic(toy.name)], revoked=revoked
            ),
            engine=self.engine,
            dead_letters=DeadLetters(toy.name, producer),
            types={Ticked.TYPE: toy.ticked},
            ports=toy.ports,
            batch_records=batch_records,
        )
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, *parts: str) -> None:
        chosen = parts or ("lease", "relay", "commands", "timers", "consumer")
        self.tasks += [asyncio.create_task(getattr(self, p).run(), name=p) for p in chosen]

    async def kill(self) -> None:
        """As ``kill -9`` as tasks can be: nothing is drained, nothing released."""
        for task in self.tasks:
            task.cancel()
        for ended in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    @asynccontextmanager
    async def running(self, *parts: str) -> AsyncIterator[Replica]:
        self.start(*parts)
        try:
            yield self
        finally:
            await self.kill()


def tick_command(
    toy: Toy, name: str, n: int, *, id: str, hash: bytes = b"h", then: str = "ok"
) -> Input:
    return Input(
        id=id,
        source="/http",
        type="toy.tick",
        hospital=HOSPITAL,
        subject=name,
        time=toy.ports.clock.now(),
        data=toy.ticked(name=name, n=n, then=then),
        body_hash=hash,
    )


def in_order(events: Iterable[CloudEvent]) -> bool:
    """Whether the first occurrences of each subject's events count 1, 2, 3, …"""
    seen: dict[str, int] = defaultdict(int)
    for event in events:
        assert event.sequence is not None
        if event.sequence == seen[event.subject] + 1:
            seen[event.subject] += 1
        elif event.sequence > seen[event.subject] + 1:
            return False
    return True


async def eventually(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer of ``check`` (an async function); fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await check():
                return found
            await asyncio.sleep(0.05)


@asynccontextmanager
async def looking(look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """``look`` at every moment meanwhile, while the database is there; what it raises is raised."""

    async def again() -> None:
        while True:
            with suppress(Unavailable):
                await look()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
