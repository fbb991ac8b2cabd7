"""How do we talk to the broker?

The only module that imports the Kafka client (aiokafka). It sets what our promises rest
on: ``acks=all`` with an idempotent producer, ``auto_offset_reset=earliest``, explicit
commits, one unacknowledged batch per partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from libs.common.broker import Broker
from libs.common.cloudevents import partition_for

Offsets = Mapping[tuple[str, int], int]

#: Larger than any record that a source topic accepts, so that a dead letter always fits.
LARGEST_RECORD = 16 * 1024 * 1024
BATCH_BYTES = 768 * 1024
ACK_TIMEOUT = 30.0

PRODUCER: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable_idempotence": True,
    "max_batch_size": BATCH_BYTES,
    "max_request_size": LARGEST_RECORD + BATCH_BYTES,
    "linger_ms": 0,
    "request_timeout_ms": 20_000,
}
CONSUMER: Final[Mapping[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "session_timeout_ms": 15_000,
    "heartbeat_interval_ms": 3_000,
    "rebalance_timeout_ms": 30_000,
    "max_poll_interval_ms": 120_000,
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    "fetch_max_wait_ms": 250,
    "metadata_max_age_ms": 30_000,
}


class BusError(Exception):
    """The broker can't be reached or refuses. Wait, rebuild, try again."""


def reach(broker: Broker | str) -> dict[str, Any]:
    """How a client reaches it; a plain address lets in whoever comes."""
    try:
        return (Broker(broker) if isinstance(broker, str) else broker).options()
    except OSError as error:  # a certificate that is being replaced may be there in a moment
        raise BusError(f"{type(error).__name__}: {error.strerror or error}") from error


class Record(Protocol):
    """A record as it was read (the shape of aiokafka's ``ConsumerRecord``)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int


@dataclass(slots=True)
class Unreadable:
    """Stands for a record that the client library can't read, such as one with a header whose
    name is not UTF-8. The record itself stays where it is until its topic forgets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0


class Outgoing(Protocol):
    """A record to be sent, as final bytes."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


R = TypeVar("R", bound=Outgoing)

cached_partition = lru_cache(maxsize=65_536)(partition_for)


def end_if_cancelled() -> None:
    """To be asked in every loop that uses these clients and is waited for when it is cancelled.

    The library waits by ``asyncio.wait_for``, which below Python 3.12 forgets a cancellation that
    comes in the moment of the answer (python/cpython#86296): the loop would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _ended(stopping: Awaitable[object], seconds: float) -> bool:
    """Whether a client has come to its end well and in time.

    aiokafka awaits tasks that it has cancelled itself, and their CancelledError comes out
    although nobody has cancelled us (aio-libs/aiokafka#647). So it is a task of its own.
    """
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()  # and not waited for: it may hold on to what it waits for
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, KafkaError | OSError):
        raise error
    return error is None


def _cancel_tasks(*parts: object) -> None:
    """End what a client that could not end well has left running: a sender that goes on
    sending, a heartbeat that keeps a member in the group which reads nothing."""
    for part in parts:
        for value in () if part is None else list(vars(part).values()):
            for task in list(value) if isinstance(value, set) else (value,):
                if isinstance(task, asyncio.Task):
                    task.cancel()


class Producer:
    """An idempotent producer. After any error it must be thrown away and made anew."""

    def __init__(self, broker: Broker | str, *, idempotent: bool = True) -> None:
        self._client = AIOKafkaProducer(
            **reach(broker), **{**PRODUCER, "enable_idempotence": idempotent}
        )

    async def start(self) -> None:
        try:
            async with asyncio.timeout(ACK_TIMEOUT):
                await self._client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.abandon()
            raise BusError(type(error).__name__) from error

    async def send(self, rows: Sequence[R]) -> list[R]:
        """Send the first rows of each partition, as many as fit one batch; wait for all acks.

        Returns the rows that are acknowledged; the rest have not been sent, and within a
        partition they all come after those. Raises ``BusError``: then some may be sent.
        """
        builders: dict[tuple[str, int], Any] = {}
        full: set[tuple[str, int]] = set()
        taken: list[R] = []
        try:
            partitions = {t: await self._partitions(t) for t in {row.topic for row in rows}}
            for row in rows:
                target = (row.topic, cached_partition(row.key or b"", partitions[row.topic]))
                if target in full:
                    continue
                builder = builders.get(target)
                if builder is None:
                    builder = builders[target] = self._client.create_batch()
                added = builder.append(
                    timestamp=None, key=row.key, value=row.value, headers=row.headers
                )
                if added is None:
                    full.add(target)
                else:
                    taken.append(row)
            waits = [
                await self._client.send_batch(builder, topic, partition=partition)
                for (topic, partition), builder in builders.items()
            ]
            async with asyncio.timeout(ACK_TIMEOUT):
                await asyncio.gather(*waits)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BusError(type(error).__name__) from error
        return taken

    async def _partitions(self, topic: str) -> int:
        known = self._client.client.cluster.partitions_for_topic(topic)
        if not known:
            async with asyncio.timeout(ACK_TIMEOUT):
                known = await self._client.partitions_for(topic)
        return len(known)

    async def stop(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self._client.stop()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BusError(type(error).__name__) from error

    async def abandon(self) -> None:
        """Stop at once, whatever is unsent; it will be sent again from the outbox.

        The client's own stop() waits for the broker first (aio-libs/aiokafka#1013) and, when
        that is given up, leaves a sender behind that goes on with what it has.
        """
        client, self._client._closed = self._client, True
        _cancel_tasks(client._sender)
        await _ended(client.client.close(), 5)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, revoked: Callable[[], Awaitable[None]]) -> None:
        self._revoked = revoked
        self.rejoining = True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.rejoining = True
        if revoked:
            await self._revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.rejoining = False


async def _around(client: Any) -> AsyncGenerator[Record, None]:
    """From where ``client`` stands to what is the end now, one by one, so that what the library
    fails at is known by its offset. It fails at all that follows in the same batch, too."""
    for tp, end in (await client.end_offsets(list(client.assignment()))).items():
        while (at := await client.position(tp)) < end:
            try:
                one = await client.getmany(tp, max_records=1, timeout_ms=1_000)
            except UnicodeDecodeError:
                client.seek(tp, at + 1)
                yield Unreadable(tp.topic, tp.partition, at)
            else:
                for record in one.get(tp, ()):
                    yield record


class ConsumerClient:
    """A member of a consumer group, with explicit commits only."""

    def __init__(
        self,
        broker: Broker | str,
        group: str,
        topics: Sequence[str],
        *,
        revoked: Callable[[], Awaitable[None]],
    ) -> None:
        self._topics = topics
        self._listener = _Listener(revoked)
        self._client = AIOKafkaConsumer(**reach(broker), group_id=group, **CONSUMER)

    async def start(self) -> None:
        try:
            self._client.subscribe(list(self._topics), listener=self._listener)
            async with asyncio.timeout(60):
                await self._client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.stop()
            raise BusError(type(error).__name__) from error

    async def poll(self, *, max_records: int, timeout: float) -> list[Record]:
        """Up to ``max_records``, each partition's in order. ``timeout`` in seconds.

        What can't be read comes as :class:`Unreadable`.
        """
        try:
            found = await self._client.getmany(
                max_records=max_records, timeout_ms=int(timeout * 1000)
            )
        except UnicodeDecodeError:
            return await self._one_by_one(max_records)
        except KafkaError as error:
            raise BusError(type(error).__name__) from error
        return [record for records in found.values() for record in records]

    async def _one_by_one(self, most: int) -> list[Record]:
        """Read on, around a record that the library fails at.

        With its error the library has lost what it had taken out already, of other partitions
        too, so each of them begins again behind what is committed.
        """
        client, found = self._client, list[Record]()
        try:
            async with asyncio.timeout(ACK_TIMEOUT):
                for tp in client.assignment():
                    if committed := await client.committed(tp):
                        client.seek(tp, committed)
                    else:
                        await client.seek_to_beginning(tp)
                async with aclosing(_around(client)) as records:
                    async for record in records:
                        found.append(record)
                        if len(found) == most:
                            break
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            raise BusError(type(error).__name__) from error
        return found

    async def commit(self, offsets: Offsets) -> bool:
        """Commit next offsets. ``False``: the partitions are somebody else's by now."""
        try:
            async with asyncio.timeout(ACK_TIMEOUT):
                await self._client.commit(
                    {TopicPartition(t, p): offset for (t, p), offset in offsets.items()}
                )
        except (CommitFailedError, IllegalStateError):
            return False
        except (KafkaError, OSError, TimeoutError) as error:
            raise BusError(type(error).__name__) from error
        return True

    def pause(self) -> None:
        self._client.pause(*self._client.assignment())

    def resume(self) -> None:
        self._client.resume(*self._client.assignment())

    def rewind(self, records: Sequence[Record]) -> None:
        """Have ``records`` delivered again."""
        first: dict[TopicPartition, int] = {}
        for r in records:
            tp = TopicPartition(r.topic, r.partition)
            first[tp] = min(first.get(tp, r.offset), r.offset)
        for tp, offset in first.items():
            if tp in self._client.assignment():
                self._client.seek(tp, offset)

    @property
    def rejoining(self) -> bool:
        """Between giving its partitions back and being given new ones, it polls nothing."""
        return self._listener.rejoining

    def assigned(self) -> int:
        return len(self._client.assignment())

    async def behind(self) -> dict[tuple[str, int], int]:
        """Records between our position and the end, asked of the broker, per partition."""
        assignment = list(self._client.assignment())
        try:
            async with asyncio.timeout(10):
                ends = await self._client.end_offsets(assignment)
                return {
                    (tp.topic, tp.partition): max(0, end - await self._client.position(tp))
                    for tp, end in ends.items()
                    if tp in self._client.assignment()
                }
        except (KafkaError, OSError, TimeoutError, IllegalStateError) as error:
            raise BusError(type(error).__name__) from error

    async def stop(self) -> None:
        """Leave the group if the broker answers; else it notices by the missing heartbeat."""
        client = self._client
        if not await _ended(client.stop(), 10):
            _cancel_tasks(client._coordinator, client._fetcher)
            await _ended(client._client.close(), 5)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@asynccontextmanager
async def _admin(broker: Broker | str) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(**reach(broker))
    try:
        async with asyncio.timeout(10):
            await client.start()
        yield client
    except (KafkaError, OSError, TimeoutError) as error:
        raise BusError(type(error).__name__) from error
    finally:
        await client.close()


async def topics_missing(broker: Broker | str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the broker does not have, or does not show to us. Whoever
    subscribes to one of them reads nothing of the others either."""
    async with _admin(broker) as admin:
        async with asyncio.timeout(10):
            there = await admin.list_topics()
    return sorted(set(names) - set(there))


async def create_topics(broker: Broker | str, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that don't exist yet; returns their names."""
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        missing = [s for s in specs if s.name not in existing]
        if not missing:
            return []
        answer = await admin.create_topics(
            [
                NewTopic(s.name, s.partitions, s.replication, topic_configs=dict(s.config))
                for s in missing
            ]
        )
        for topic, code, *message in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise BusError(f"topic {topic}: {error.__name__} {message}")
        return [s.name for s in missing]


async def read_all(broker: Broker | str, topics: Sequence[str]) -> AsyncIterator[Record]:
    """Every record of ``topics`` from the beginning, then live; outside any group. What can't
    be read comes as :class:`Unreadable`."""
    client = AIOKafkaConsumer(
        *topics,
        **reach(broker),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await client.start()
        while True:
            try:
                record = await client.getone()
            except UnicodeDecodeError:
                async with aclosing(_around(client)) as records:
                    async for record in records:
                        yield record
            else:
                yield record
    except (KafkaError, OSError) as error:
        raise BusError(type(error).__name__) from error
    finally:
        await client.stop()
