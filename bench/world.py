"""What do all cases share? One prefilled topic, one shape of event, one way to measure.

A case is measured from its first batch until everything that came out is acknowledged
and its clients are closed. What counts is its own process' CPU; the broker's and the
database's are other processes'.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from libs.common.cloudevents import CloudEvent, encode
from libs.common.cloudevents import Record as EncodedEvent
from libs.common.decision import derived_id
from libs.common.events import Event
from libs.common.kafka.member import CONSUMER, ConsumerClient
from libs.common.kafka.producer import PRODUCER, Producer, R
from libs.common.kafka.record import Record
from libs.common.kafka.topics import TopicSpec, create_topics
from libs.common.migrate import migrate
from libs.common.replays import replay_topic
from tests.support.toy import SPEC, Tallied, Ticked, Toy

#: Records in a batch. The topic is filled in batches of as many, so every poll brings 500.
BATCH = 500
EVENTS = 10_000
HOSPITAL = "h1"
#: Aggregates; with as many as a batch has records, no write is saved by a repetition.
NAMES = 500
#: With its other fields an event's body has about 1 KB.
PAD = "x" * 860

Headers = list[tuple[str, bytes]]


class Row(NamedTuple):
    """A record to be sent."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


async def prefill(bootstrap: str, topic: str, sampled_every: int) -> None:
    """``EVENTS`` events; each ``sampled_every``-th (0: none) says that it is sampled."""
    if not await create_topics(bootstrap, [TopicSpec(topic, 1, 1, {})]):
        return
    producer = Producer(bootstrap)
    await producer.start()
    now = datetime.now(UTC).replace(microsecond=0)
    for start in range(0, EVENTS, BATCH):
        rows = []
        for i in range(start, start + BATCH):
            flag = "01" if sampled_every and i % sampled_every == 0 else "00"
            name = f"p{i % NAMES}"
            event = CloudEvent(
                id=f"e{i}",
                source="/bench",
                type=Ticked.TYPE,
                subject=name,
                time=now,
                hospital=HOSPITAL,
                data=Ticked(name=name, n=i, pad=PAD),
                sequence=i // NAMES + 1,
                correlationid=f"e{i}",
                traceparent=f"00-{i + 1:032x}-{i + 1:016x}-{flag}",
            )
            rows.append(Row(topic, *encode(event)))
        if len(await producer.send(rows)) != BATCH:
            raise RuntimeError("a batch of records does not fit into one of Kafka's")
    await producer.stop()


def answer(data: Any, count: int) -> Tallied:
    """The event that follows from a tick."""
    return Tallied(name=data.name, count=count, n=data.n, pad=data.pad)


def write(cause: CloudEvent, data: Tallied, sequence: int) -> EncodedEvent:
    """``data`` as a record that follows from ``cause``, for the cases that are not ours."""
    return encode(
        CloudEvent(
            id=derived_id(cause.hospital, cause.source, cause.id, 0),
            source="/services/bench",
            type=Tallied.TYPE,
            subject=cause.subject,
            time=cause.time,
            hospital=cause.hospital,
            data=data,
            sequence=sequence,
            correlationid=cause.correlationid,
            causationid=cause.id,
            traceparent=cause.traceparent,
        )
    )


@dataclass
class Meter:
    """Process CPU and wall time of ``events``, from ``begin`` to ``finish``."""

    events: int
    cpu: float = 0.0
    took: float = 0.0
    acknowledged: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._all = asyncio.Event()

    def begin(self) -> None:
        """With the first batch: what comes before is the joining of the group."""
        if self._began is None:
            # As the services have it after their start (libs/common/runtime.py).
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            self._began = time.process_time(), time.perf_counter()

    def acked(self, count: int) -> None:
        self.acknowledged += count
        if self.acknowledged >= self.events:
            self._all.set()

    def failed(self, error: BaseException) -> None:
        self.error = error
        self._all.set()

    async def all_acknowledged(self) -> None:
        await self._all.wait()
        if self.error is not None:
            raise self.error

    def client(self, *positional: Any, **named: Any) -> ConsumerClient:
        made = _Client(*positional, **named)
        made.meter = self
        return made

    def producer(self, bootstrap: str) -> Callable[[], Producer]:
        def make() -> Producer:
            made = _Producer(bootstrap)
            made.meter = self
            return made

        return make

    def finish(self) -> None:
        if self._began is None:
            raise RuntimeError("nothing was read")
        self.cpu = time.process_time() - self._began[0]
        self.took = time.perf_counter() - self._began[1]


class World:
    """The prefilled topic, and a database and an outgoing topic of this run's own."""

    def __init__(
        self,
        *,
        bootstrap: str,
        mongo_url: str,
        topic: str,
        events: int = EVENTS,
        otlp: str | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.toy = Toy(bootstrap, mongo_url)
        self.toy.topic_in = topic
        self.bootstrap, self.topic_in, self.topic_out = bootstrap, topic, self.toy.topic_out
        self.group = f"bench-{self.toy.name}"
        self.otlp = otlp
        self.meter = meter or Meter(events)
        self.types: dict[str, type[Event]] = {Ticked.TYPE: self.toy.ticked}

    async def prepare(self) -> None:
        names = (self.topic_out, replay_topic(self.toy.name))
        await create_topics(self.bootstrap, [TopicSpec(name, 1, 1, {}) for name in names])
        await migrate(self.toy.database, [SPEC])

    @property
    def producer_settings(self) -> dict[str, Any]:
        return {"bootstrap_servers": self.bootstrap, **PRODUCER}

    @property
    def consumer_settings(self) -> dict[str, Any]:
        return dict(CONSUMER)


class _Client(ConsumerClient):
    """Tells the meter of the first batch."""

    meter: Meter

    async def poll(self, *, max_records: int, timeout: float) -> list[Record]:
        records = await super().poll(max_records=max_records, timeout=timeout)
        if records:
            self.meter.begin()
        return records


class _Producer(Producer):
    """Tells the meter of every acknowledgement."""

    meter: Meter

    async def send(self, rows: Sequence[R]) -> list[R]:
        taken = await super().send(rows)
        self.meter.acked(len(taken))
        return taken
