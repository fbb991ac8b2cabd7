"""How are records sent, so that one that was acknowledged is never lost?

``acks=all`` with an idempotent producer, and one unacknowledged batch per partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from libs.common.broker import Broker
from libs.common.cloudevents import partition_for
from libs.common.kafka.client import ACK_TIMEOUT, BusError, cancel_tasks, ended, reach
from libs.common.kafka.record import Outgoing

#: Larger than any record that a source topic accepts, so that a dead letter always fits.
LARGEST_RECORD = 16 * 1024 * 1024
BATCH_BYTES = 768 * 1024

PRODUCER: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable_idempotence": True,
    "max_batch_size": BATCH_BYTES,
    "max_request_size": LARGEST_RECORD + BATCH_BYTES,
    "linger_ms": 0,
    "request_timeout_ms": 20_000,
}

R = TypeVar("R", bound=Outgoing)

cached_partition = lru_cache(maxsize=65_536)(partition_for)


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
        cancel_tasks(client._sender)
        await ended(client.client.close(), 5)
