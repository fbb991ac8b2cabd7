"""Where do events go that can never be handled?

To ``<consumer group>.dlq``: the raw record, byte for byte, with ``dlq_*`` headers that
say where it came from and why it was set aside. It is acknowledged by the broker before
the offset of its source is committed, so it may appear twice but never get lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libs.common import metrics
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer
from libs.common.kafka.record import Record


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record. ``reason`` is from an enum; ``detail`` names a field, never a value."""

    record: Record
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class DeadLetters:
    def __init__(self, group: str, new_producer: Callable[[], Producer]) -> None:
        self._group = group
        metrics.DEAD_LETTERS.labels(consumer=group)  # 0: the first one is seen to be one more
        self._new_producer = new_producer
        self._producer: Producer | None = None

    @property
    def topic(self) -> str:
        return f"{self._group}.dlq"

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Until all are acknowledged. Raises ``BusError``; then some may have been sent."""
        rows = [self._row(letter) for letter in letters]
        try:
            if self._producer is None:
                self._producer = self._new_producer()
                await self._producer.start()
            while rows:
                taken = {id(row) for row in await self._producer.send(rows)}
                rows = [row for row in rows if id(row) not in taken]
        except BusError:
            await self.close()
            raise
        for letter in letters:
            metrics.EVENTS_REJECTED.labels(consumer=self._group, reason=letter.reason).inc()
        metrics.DEAD_LETTERS.labels(consumer=self._group).inc(len(letters))

    def _row(self, letter: DeadLetter) -> _Row:
        r = letter.record
        told = {
            "dlq_topic": r.topic,
            "dlq_partition": str(r.partition),
            "dlq_offset": str(r.offset),
            "dlq_timestamp": str(r.timestamp),
            "dlq_consumer": self._group,
            "dlq_reason": letter.reason,
            "dlq_detail": letter.detail[:500],
        }
        # A record needs a key or a value; a tombstone without a key gets an empty one.
        key = b"" if r.key is None and r.value is None else r.key
        headers = [*r.headers, *((k, v.encode()) for k, v in told.items())]
        return _Row(self.topic, key, r.value, headers)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.abandon()
