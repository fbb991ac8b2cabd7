"""How does a member of a consumer group read, commit and leave?

``auto_offset_reset=earliest``, and explicit commits only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from libs.common.broker import Broker
from libs.common.kafka.client import ACK_TIMEOUT, BusError, cancel_tasks, ended, reach
from libs.common.kafka.reading import around
from libs.common.kafka.record import Offsets, Record

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
                async with aclosing(around(client)) as records:
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
        if not await ended(client.stop(), 10):
            cancel_tasks(client._coordinator, client._fetcher)
            await ended(client._client.close(), 5)
