"""How do committed events reach Kafka, once acknowledged and first time in order?

Every event is an outbox row, written in the transaction of the state that it tells of
and deleted only after the broker's ``acks=all``. One replica per service owns the
sending (a lease). It may send a row from memory only if it has sent the row before it
in the same stream (the aggregate's events, numbered from 1); whatever it is not sure of
it reads from the outbox by (stream, sequence). After any failure it forgets everything,
makes a new producer and begins again from the outbox. So a row may be sent twice, which
consumers drop by (source, id), but the first occurrences of a stream are in order.

Another replica that commits rows only wakes the owner.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.kafka.client import BusError, end_if_cancelled
from libs.common.kafka.producer import Producer
from libs.common.lease import Lease
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable
from libs.common.rows import OUTBOX, OutboxRow
from libs.common.telemetry import Tracer

log = structlog.get_logger()

WAKE = "relay_wake"
BATCH = 1_000
#: Rows kept in memory; beyond it the owner reads them from the outbox instead.
MEMORY = 20_000
#: Streams whose last sent sequence is remembered.
STREAMS = 100_000
#: Seconds between looks at the outbox when nothing wakes the owner.
POLL = 0.5
#: The same while it is busy: for rows that nobody could wake it for, as of a replica that was
#: killed between its commit and its wake, or of a commit whose answer was lost.
LOOK = 1.0
#: Seconds between two looks at how much waits.
MEASURE = 2.0


class Relay:
    """The sending of one service's outbox; ``run`` until cancelled."""

    def __init__(
        self,
        *,
        database: Database,
        lease: Lease,
        new_producer: Callable[[], Producer],
        ports: Ports,
        tracer: Tracer,
    ) -> None:
        self._database = database
        self._outbox = database.raw(OUTBOX)
        self._wake_raw = database.raw(WAKE)
        self._lease = lease
        self._new_producer = new_producer
        self._producer: Producer | None = None
        self._ports = ports
        self._tracer = tracer
        self._memory: deque[OutboxRow] = deque()
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._read_outbox = True
        self._looked = float("-inf")
        self._tell_owner = False
        self._wake = asyncio.Event()
        self._sent_some = asyncio.Event()
        self._deleting: asyncio.Task[None] | None = None
        self.backlog = 0

    def committed(self, rows: Sequence[OutboxRow]) -> None:
        """Take over rows whose transaction has committed. Never waits."""
        if not rows:
            return
        if not self._lease.owned:
            self._tell_owner = True
        elif len(self._memory) + len(rows) > MEMORY:
            self._memory.clear()
            self._read_outbox = True
        else:
            self._memory.extend(rows)
        self._wake.set()

    def wake(self) -> None:
        """Look again at once: the lease has come or gone."""
        self._read_outbox = True
        self._wake.set()

    async def run(self) -> None:
        beside = [asyncio.create_task(self._listen()), asyncio.create_task(self._measure())]
        failures = 0
        try:
            while True:
                end_if_cancelled()
                for task in beside:
                    if task.done():
                        task.result()  # a bug there must not leave us with an old measure
                try:
                    await self.step()
                    failures = 0
                except (BusError, Unavailable, Conflict, Unstorable) as error:
                    failures += 1
                    metrics.RELAY_REBUILDS.inc()
                    log.warning("relay_restarts", error=type(error).__name__, why=str(error))
                    await self._forget()
                    await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._forget()

    async def flush(self) -> None:
        """At shutdown: wait until what this replica committed has been sent, if it may send."""
        while self._memory and self._lease.owned:
            self._sent_some.clear()
            await self._sent_some.wait()

    async def step(self) -> None:
        """Send what there is, or wait for a wake and look."""
        if not self._lease.owned or not (self._memory or self._read_outbox):
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
        woken = self._wake.is_set()
        self._wake.clear()
        if not self._lease.owned:
            await self._stand_by()
        elif self._read_outbox or not (woken or self._memory) or self._unseen():
            # First, so that what other replicas have committed never waits behind our own.
            self._read_outbox = False
            self._looked = self._ports.clock.monotonic()
            await self._send_outbox({})
        else:
            await self._send_memory()

    def _unseen(self) -> bool:
        return self._ports.clock.monotonic() - self._looked > LOOK

    async def _stand_by(self) -> None:
        """Not the owner: remember nothing, and wake the owner for what we have committed."""
        self._memory.clear()
        self._sent.clear()
        self._read_outbox = True  # should we come to own it, we begin from the outbox
        if self._tell_owner:
            await self._database.update_row(
                self._wake_raw, {"_id": "relay"}, {"$inc": {"n": 1}}, upsert=True
            )
            self._tell_owner = False

    async def _send_memory(self) -> None:
        rows = [self._memory.popleft() for _ in range(min(BATCH, len(self._memory)))]
        sure: list[OutboxRow] = []
        unsure: set[str] = set()
        ahead: dict[str, int] = {}
        for row in rows:
            last = ahead.get(row.stream, self._sent.get(row.stream, 0))
            if row.stream in unsure or row.sequence > last + 1:
                unsure.add(row.stream)
            elif row.sequence == last + 1:
                ahead[row.stream] = row.sequence
                sure.append(row)
        await self._send(sure)
        if unsure:
            await self._send_outbox({"stream": {"$in": sorted(unsure)}})

    async def _send_outbox(self, query: Row) -> None:
        """Send what the outbox holds, by (stream, sequence), until it is empty."""
        while self._lease.owned:
            await self.settled()
            rows = await self._database.find_rows(
                self._outbox, query, sort=(("stream", 1), ("sequence", 1)), limit=BATCH
            )
            found = [OutboxRow.of_row(r, self._database.cipher) for r in rows]
            stale = [r.id for r in found if r.sequence <= self._sent.get(r.stream, 0)]
            if stale:
                await self._database.delete_rows(self._outbox, stale)
            await self._send([r for r in found if r.sequence > self._sent.get(r.stream, 0)])
            if len(rows) < BATCH:
                return

    async def _send(self, rows: Sequence[OutboxRow]) -> None:
        while rows:
            if not self._lease.owned:
                self._memory.clear()
                self._sent.clear()
                self._read_outbox = True
                return
            if self._producer is None:
                self._producer = self._new_producer()
                await self._producer.start()
            topics = {r.topic for r in rows}
            name = topics.pop() if len(topics) == 1 else None
            with self._tracer.send(name, [r.traceparent for r in rows], len(rows)):
                taken = await self._producer.send(rows)
            for row in taken:
                self._sent[row.stream] = row.sequence
                self._sent.move_to_end(row.stream)
            metrics.RELAY_SENT.inc(len(taken))
            self._sent_some.set()
            while len(self._sent) > STREAMS:
                self._sent.popitem(last=False)
            await self.settled()
            self._deleting = asyncio.create_task(
                self._database.delete_rows(self._outbox, [r.id for r in taken])
            )
            if len(taken) == len(rows):
                return
            done = {r.id for r in taken}
            rows = [r for r in rows if r.id not in done]

    async def settled(self) -> None:
        """Wait for the deletion of what was sent before; one at a time."""
        if self._deleting is not None:
            deleting, self._deleting = self._deleting, None
            await deleting

    async def _forget(self) -> None:
        self._memory.clear()
        self._sent.clear()
        self._read_outbox = True
        if self._deleting is not None:
            deleting, self._deleting = self._deleting, None
            with suppress(Unavailable, Conflict, Unstorable):
                await deleting
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.abandon()

    async def _listen(self) -> None:
        """Other replicas wake the owner through a change stream; polling covers its absence."""
        while True:
            try:
                changes = self._database.changes(WAKE, ("insert", "update", "replace"))
                async with aclosing(changes):
                    async for _ in changes:
                        self.wake()  # first for what came while nobody listened
            except (Unavailable, Conflict, Unstorable) as error:
                log.info("relay_polls", why=str(error))
                await self._ports.clock.sleep(5)

    async def _measure(self) -> None:
        """How much waits, as every replica sees it: beyond the limit no command is accepted."""
        while True:
            try:
                self.backlog = await self._database.size(self._outbox)
                oldest = await self._database.find_rows(
                    self._outbox, {}, sort=(("at", 1),), limit=1
                )
            except (Unavailable, Conflict, Unstorable) as error:
                log.info("outbox_not_measured", why=str(error))
            else:
                age = self._ports.clock.now() - oldest[0]["at"] if oldest else timedelta()
                metrics.OUTBOX_ROWS.set(self.backlog)
                metrics.OUTBOX_OLDEST_AGE.set(age.total_seconds())
            await self._ports.clock.sleep(MEASURE)
