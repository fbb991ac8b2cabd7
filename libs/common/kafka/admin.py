"""What stands in the broker, asked by somebody who belongs to no consumer group?

For people who look: ends, positions of groups, records by offset or time. It commits nothing;
what operators change is ``cluster.py``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from libs.common.broker import Broker
from libs.common.kafka.client import BusError, reach
from libs.common.kafka.record import Record, Unreadable

T = TypeVar("T")

#: (topic, partition)
Place = tuple[str, int]
#: Seconds that an answer may take.
PATIENCE: Final = 15.0
_NO_COORDINATOR: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's words (Stable, Empty, Dead …) and its members."""

    state: str
    members: int


class Kafka:
    """One look at a broker. Every method raises :class:`BusError`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._consumer: Any = None
        self._admin: Any = None
        self._places: dict[str, list[Place]] = {}

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            with suppress(TimeoutError):  # given up, it is cancelled a second time, and ends
                await asyncio.wait_for(consumer.stop(), PATIENCE)
        if admin is not None:
            await admin.close()

    async def topics(self) -> set[str]:
        admin = await self._asking()
        return set(await _answer(admin.list_topics()))

    async def places(self, topics: Iterable[str]) -> list[Place]:
        """The partitions of those of ``topics`` that exist."""
        wanted = set(topics)
        if not wanted <= self._places.keys():
            admin = await self._asking()
            there = await _answer(admin.describe_topics(sorted(wanted & await self.topics())))
            for topic in there:
                found = [(topic["topic"], part["partition"]) for part in topic["partitions"]]
                self._places[topic["topic"]] = sorted(found)
        return sorted(place for topic in wanted for place in self._places.get(topic, ()))

    async def ends(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """The first offset that is kept, and the one that the next record will get."""
        if not places:
            return {}
        consumer, parts = await self._reading(), [TopicPartition(*p) for p in places]
        first = await _answer(consumer.beginning_offsets(parts))
        end = await _answer(consumer.end_offsets(parts))
        return {(p.topic, p.partition): (first[p], end[p]) for p in parts}

    async def offsets_at(self, places: Sequence[Place], time: datetime) -> dict[Place, int]:
        """The first offset that was written at ``time`` or later; the end if there is none."""
        if not places:
            return {}
        consumer, ms = await self._reading(), int(time.timestamp() * 1000)
        found = await _answer(consumer.offsets_for_times({TopicPartition(*p): ms for p in places}))
        ends = await self.ends(places)
        return {
            (p.topic, p.partition): ends[(p.topic, p.partition)][1] if at is None else at.offset
            for p, at in found.items()
        }

    async def committed(self, group: str) -> dict[Place, int]:
        """Where the group goes on reading, by partition."""
        admin = await self._asking()
        found = await _of_coordinator(lambda: admin.list_consumer_group_offsets(group))
        return {(p.topic, p.partition): at.offset for p, at in found.items() if at.offset >= 0}

    async def group(self, name: str) -> Group:
        admin = await self._asking()
        answers = await _of_coordinator(lambda: admin.describe_consumer_groups([name]))
        for answer in answers:
            for _error, _name, state, _type, _protocol, members, *_ in answer.groups:
                return Group(state, len(members))
        return Group("Dead", 0)

    async def records(self, spans: Mapping[Place, tuple[int, int]]) -> AsyncGenerator[Record, None]:
        """Every record from the first offset of each span to before its last, each partition's
        in order. What can't be read comes as :class:`Unreadable`; what does not come at all, as of
        a partition without a leader, is a :class:`BusError`."""
        consumer, stands, silent = await self._reading(), dict[TopicPartition, int](), 0
        left = {TopicPartition(*p): until for p, (at, until) in spans.items() if at < until}
        if not left:
            # To take away what it is reading, and close it then, makes the client wait for ever:
            # it loses the cancellation (aiokafka 0.14, Fetcher._fetch_requests_routine).
            return
        consumer.assign(list(left))
        for place in left:
            consumer.seek(place, spans[(place.topic, place.partition)][0])
        while left:
            try:
                found = await _answer(consumer.getmany(*left, timeout_ms=1_000))
            except UnicodeDecodeError:
                async for record in self._around(left):
                    yield record
                found = {}
            for place, records in found.items():
                for record in records:
                    if record.offset < left[place]:
                        yield record
            silent += 1
            for place in list(left):
                # Also where nothing is left of a span: compacted, deleted, or a transaction's mark.
                at = await _answer(consumer.position(place))
                if at != stands.get(place):
                    stands[place], silent = at, 0
                if at >= left[place]:
                    consumer.pause(place)
                    del left[place]
            if silent > PATIENCE:
                silenced = ", ".join(f"{p.topic}/{p.partition}" for p in left)
                raise BusError(f"nothing comes of {silenced}: has it a leader?")

    async def _around(self, left: Mapping[TopicPartition, int]) -> AsyncGenerator[Record, None]:
        """One record of each partition, so that what the library fails at is known."""
        consumer = await self._reading()
        for place in left:
            at = await _answer(consumer.position(place))
            consumer.seek(place, at)  # with its error the library has lost what it had taken out
            try:
                found = await _answer(consumer.getmany(place, max_records=1, timeout_ms=1_000))
            except UnicodeDecodeError:
                consumer.seek(place, at + 1)
                yield Unreadable(place.topic, place.partition, at)
            else:
                for record in found.get(place, ()):
                    if record.offset < left[place]:
                        yield record

    async def _reading(self) -> Any:
        if self._consumer is None:
            self._consumer = await _started(
                lambda: AIOKafkaConsumer(
                    **reach(self._broker),
                    group_id=None,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    fetch_max_wait_ms=20,  # else each look waits for the one before to time out
                )
            )
        return self._consumer

    async def _asking(self) -> Any:
        if self._admin is None:
            self._admin = await _started(lambda: AIOKafkaAdminClient(**reach(self._broker)))
        return self._admin


async def _started(new: Callable[[], Any]) -> Any:
    client = new()
    try:
        await _answer(client.start())
    except BusError:
        await (client.stop if hasattr(client, "stop") else client.close)()
        raise
    return client


async def _of_coordinator(ask: Callable[[], Awaitable[T]]) -> T:
    """There is none for a moment where no group has ever read, or after a broker is lost."""
    for _ in range(20):
        try:
            return await asyncio.wait_for(ask(), PATIENCE)
        except _NO_COORDINATOR:
            await asyncio.sleep(0.5)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BusError(type(error).__name__) from error
    raise BusError("GroupCoordinatorNotAvailableError")


async def _answer(asked: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(asked, PATIENCE)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BusError(type(error).__name__) from error
