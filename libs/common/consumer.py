"""When is a record settled, so that its offset is committed?

One loop: poll a batch, decode it, let the engine decide and save it, send what was
rejected to the dead letters, commit the offsets, poll again. One batch is in flight at a
time; no task per key. Every record ends in one of three fates: *done* (a refusal or a
duplicate is done too), *rejected* (kept in the dead letters), or *retried* for ever while
a fault lies outside. An offset is committed only when all before it are settled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import TypeVar

import structlog

from libs.common import exemplars, metrics
from libs.common.clock import Ports
from libs.common.dead_letters import DeadLetter, DeadLetters
from libs.common.engine import Engine
from libs.common.events import Event
from libs.common.fates import Fate, Reject
from libs.common.flood import FloodGuard
from libs.common.intake import taken_in
from libs.common.kafka.client import BusError, end_if_cancelled
from libs.common.kafka.member import ConsumerClient
from libs.common.kafka.record import Record
from libs.common.mongo.errors import Conflict, Unavailable
from libs.common.replays import is_replay

log = structlog.get_logger()

T = TypeVar("T")

BATCH_RECORDS = 500
BATCH_BYTES = 4 * 1024 * 1024
#: Seconds that a rebalance waits for the batch in flight.
DRAIN = 20.0
#: Seconds after a stopped consumer's reject, and between the watchdog's looks.
PROBE = 30.0
WATCH = 5.0
#: Milliseconds in Kafka after which an event is handled late; an objective counts these.
LATE_MS = 60_000
#: Seconds without any record, while records are waiting, before the consumer is built anew.
STUCK = 30.0
#: The same while it is unknown whether any wait; longer than a rebalance may take.
LOST = 45.0


class _Lost(Exception):
    """The group has rebalanced: this batch's partitions may be somebody else's."""


class Consumer:
    """One service's consumer group member. ``run`` until ``stop`` is called."""

    def __init__(
        self,
        *,
        group: str,
        new_client: Callable[[Callable[[], Awaitable[None]]], ConsumerClient],
        engine: Engine,
        dead_letters: DeadLetters,
        types: Mapping[str, type[Event]],
        ports: Ports,
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        self._group = group
        self._new_client = new_client
        self._engine = engine
        self._dead_letters = dead_letters
        self._types = types
        self._ports = ports
        self._batch_records = batch_records
        self._flood = FloodGuard()
        #: Rejects flooded in; only probes are read until one is handled.
        self.stopped = False
        self._probing = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._rebalances = 0
        self._failures = 0  # since a batch was last settled
        self._last_record = 0.0

    async def run(self) -> None:
        self._failures = 0
        try:
            while not self._stopping.is_set():
                client = None
                try:
                    client = self._new_client(self._on_revoked)
                    await client.start()
                    await self._consume(client)
                except BusError as error:
                    self._failures += 1
                    metrics.CONSUMER_REBUILDS.labels(reason=type(error).__name__).inc()
                    log.warning("consumer_restarts", group=self._group, why=str(error))
                finally:
                    if client is not None:
                        await client.stop()
                if self._failures:
                    await self._pause_between(self._ports.backoff(self._failures, cap=5.0))
        finally:
            await self._dead_letters.close()

    async def stop(self) -> None:
        """Take no further batch; wait for the one in flight."""
        self._stopping.set()
        self._probing.set()
        await self._idle.wait()

    async def _on_revoked(self) -> None:
        """Before a rebalance: let the batch in flight commit, within the time that there is."""
        self._rebalances += 1
        metrics.CONSUMER_REBALANCES.inc()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await self._idle.wait()

    async def _consume(self, client: ConsumerClient) -> None:
        self._last_record = self._ports.clock.monotonic()
        reading = asyncio.create_task(self._read(client))
        watchdog = asyncio.create_task(self._watch(client))
        both = {reading, watchdog}
        try:
            # A poll may hang for ever, so that only somebody beside it can tell.
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _read(self, client: ConsumerClient) -> None:
        while not self._stopping.is_set():
            end_if_cancelled()
            if self.stopped or self._flood.flooded():
                await self._probe(client)
            else:
                await self._poll(client, self._batch_records)

    async def _poll(self, client: ConsumerClient, most: int, timeout: float = 0.5) -> set[Fate]:
        """One poll, settled whole; what became of it."""
        records = await client.poll(max_records=most, timeout=timeout)
        fates = set[Fate]()
        if not records or self._stopping.is_set():
            return fates
        self._last_record = self._ports.clock.monotonic()
        self._idle.clear()
        try:
            for chunk in _bounded(records):
                fates |= await self._settle(client, chunk)
                if self._stopping.is_set():
                    break
            self._failures = 0
        except _Lost:
            log.info("batch_dropped", group=self._group, records=len(records))
        finally:
            self._idle.set()
        return fates

    async def _settle(self, client: ConsumerClient, records: Sequence[Record]) -> set[Fate]:
        """Decide, save, set aside, commit. Raises ``_Lost`` if a rebalance took it away."""
        started = self._ports.clock.monotonic()
        inputs, by_input, letters, malformed = taken_in(
            records, self._types, self._ports.clock.now()
        )
        fates = {Fate.REJECTED} if letters else set[Fate]()
        own_faults = 0
        if inputs:
            outcomes = await self._retried(client, lambda: self._engine.run(inputs))
            fates |= {outcome.fate for outcome in outcomes}
            for record, input, outcome in zip(by_input, inputs, outcomes, strict=True):
                if outcome.fate is Fate.REJECTED:
                    letters.append(DeadLetter(record, outcome.note, outcome.error))
                    if is_replay(record.topic):
                        continue
                    if outcome.note == Reject.ID_REUSED:
                        malformed[input.source] = malformed.get(input.source, 0) + 1
                    else:
                        own_faults += 1
            counted = Counter(
                (record.topic, input.type, outcome.fate)
                for record, input, outcome in zip(by_input, inputs, outcomes, strict=True)
            )
            handled = self._ports.clock.now().timestamp() * 1000
            metrics.EVENTS_LATE.inc(sum(handled - r.timestamp > LATE_MS for r in by_input))
            for (topic, type, fate), count in counted.items():
                metrics.EVENTS_CONSUMED.labels(topic=topic, type=type, fate=fate).inc(count)
        if letters:
            await self._retried(client, lambda: self._dead_letters.send(letters))
            log.warning("events_rejected", group=self._group, count=len(letters))
        if not await client.commit({(r.topic, r.partition): r.offset + 1 for r in records}):
            raise _Lost
        now = self._ports.clock.monotonic()
        # What is read again and rejected again floods nobody: an operator asked for it.
        topics = Counter(map(attrgetter("topic"), records))
        fresh = sum(count for topic, count in topics.items() if not is_replay(topic))
        self._flood.count(now, fresh, own_faults, malformed)
        metrics.CONSUMER_BATCH_SIZE.observe(len(records))
        metrics.CONSUMER_BATCH_SECONDS.observe(
            # Of the first record alone: looking for a sampled one would cost a call for each.
            now - started,
            exemplars.of(inputs[0].traceparent if inputs else None),
        )
        for source in self._flood.noisy():
            log.error("source_rejected_often", group=self._group, source=source)
        return fates

    async def _retried(self, client: ConsumerClient, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat ``work`` while the fault lies outside; read nothing, but stay a member."""
        rebalances, attempt = self._rebalances, 0
        while True:
            try:
                done = await work()
            except (Unavailable, Conflict, BusError) as error:
                attempt += 1
                log.warning("batch_waits", group=self._group, attempt=attempt, why=str(error))
                client.pause()
                await self._pause_between(self._ports.backoff(attempt, cap=5.0))
                if not self._stopping.is_set() and rebalances == self._rebalances:
                    client.rewind(await client.poll(max_records=1, timeout=0))
                if self._stopping.is_set() or rebalances != self._rebalances:
                    client.resume()
                    raise _Lost from error
                continue
            if attempt:
                client.resume()
            return done

    def probe_now(self) -> None:
        """Do not wait for the next probe of a stopped consumer."""
        self._probing.set()

    async def _probe(self, client: ConsumerClient) -> None:
        """Stopped by a flood of rejects: one record at a time, until one is handled.

        After a reject it waits; a duplicate, or what nobody here wants, tells nothing of the
        cause and is passed at once.
        """
        if not self.stopped:
            self.stopped = True
            metrics.CONSUMER_STOPPED.set(1)
            sources = sorted(self._flood.sources())
            log.error("consumer_stopped", group=self._group, sources=sources)
            await self._between_probes()
        fates = await self._poll(client, 1)
        if Fate.REJECTED in fates:
            await self._between_probes()
        elif fates & {Fate.DONE, Fate.REFUSED}:
            self._flood.reset()
            self.stopped = False
            metrics.CONSUMER_STOPPED.set(0)
            log.warning("consumer_resumed", group=self._group)

    async def _between_probes(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE):
                await self._probing.wait()
        self._probing.clear()

    async def _watch(self, client: ConsumerClient) -> None:
        """A consumer can hang after a broker's restart without any error; notice by the lag.

        Raises ``BusError`` when records have been waiting for ``STUCK`` seconds and none has
        come, or when for ``LOST`` seconds nobody could say whether any wait.
        """
        since: float | None = None  # when what looks like a hang was first seen
        while True:
            await self._ports.clock.sleep(WATCH)
            end_if_cancelled()
            lags = await self._lags(client)
            now = self._ports.clock.monotonic()
            hangs = lags is None or any(lags.values()) or client.rejoining
            # A batch may take long, as while the database is away; to rejoin may not.
            at_work = not self._idle.is_set() and not client.rejoining
            patience = STUCK if lags and not client.rejoining else LOST
            if self.stopped:  # it reads one record, and pauses
                patience += PROBE
            if not hangs or at_work:
                since = None
            elif since is None or self._last_record > since:
                since = now
            elif now - since > patience:
                raise BusError("stuck: records may be waiting and none arrives")

    async def _lags(self, client: ConsumerClient) -> Mapping[tuple[str, int], int] | None:
        """Records that wait, by partition; ``None`` if the broker does not say."""
        lags = None
        try:
            lags = await client.behind()
        except BusError as error:
            log.info("lag_unknown", group=self._group, why=str(error))
        metrics.CONSUMER_LAG.clear()  # of partitions that somebody else has now
        for (topic, partition), lag in (lags or {}).items():
            metrics.CONSUMER_LAG.labels(topic=topic, partition=str(partition)).set(lag)
        return lags

    async def _pause_between(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _bounded(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Cut where the bytes of a batch would exceed its limit."""
    chunks: list[list[Record]] = [[]]
    size = 0
    for record in records:
        weight = len(record.value or b"")
        if chunks[-1] and size + weight > BATCH_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(record)
        size += weight
    return list(chunks)
