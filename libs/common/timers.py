"""How does something happen at a time, once, however many replicas run?

A timer is a row written in the transaction of the decision that wants it. The replica
that holds the service's lease reads what is due and runs it through the engine as an
input with the id ``uuid5(timer, due)``; the row goes in the transaction of what it
causes, and the inbox stops a second firing. After a restart the rows are still there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.decision import Handler, Input
from libs.common.engine import Engine
from libs.common.fates import Fate
from libs.common.lease import Lease
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable
from libs.common.rows import TIMERS, at_hand

log = structlog.get_logger()

BATCH = 200
#: Seconds between looks at what is due: how late a timer may be besides load.
POLL = 0.5
#: A timer whose rule fails is tried again after this long; it is never dropped.
POSTPONED = timedelta(minutes=1)


class Timers:
    """Fires one service's timers; ``run`` until cancelled."""

    def __init__(
        self,
        *,
        database: Database,
        lease: Lease,
        engine: Engine,
        handlers: Mapping[str, Handler],
        ports: Ports,
    ) -> None:
        self._database = database
        self._raw = database.raw(TIMERS)
        self._lease = lease
        self._engine = engine
        self._handlers = handlers
        self._ports = ports

    async def run(self) -> None:
        failures = 0
        while True:
            fired = 0
            try:
                if self._lease.owned:
                    fired = await self.fire()
                failures = 0
            except (Unavailable, Conflict, Unstorable) as error:
                failures += 1
                log.warning("timers_wait", why=str(error))
            if fired < BATCH:
                await self._ports.clock.sleep(
                    self._ports.backoff(failures, cap=5.0) if failures else POLL
                )

    async def fire(self) -> int:
        """Fire what is due, at most a batch; how many there were."""
        now = self._ports.clock.now()
        rows = await self._database.find_rows(
            self._raw, {"next": {"$lte": now}}, sort=(("next", 1),), limit=BATCH
        )
        readable: list[tuple[Row, Input]] = []
        for row in rows:
            try:
                readable.append((row, self._input(at_hand(row, self._database.cipher))))
            except (KeyError, ValueError) as error:
                # Of a type that this version does not know, say: another one may.
                await self._postpone(row, now, type(error).__name__)
        if not readable:
            return len(rows)
        outcomes = await self._engine.run([input for _, input in readable], "fire timers")
        for (row, _), outcome in zip(readable, outcomes, strict=True):
            if outcome.fate == Fate.REJECTED:
                await self._postpone(row, now, outcome.note)
                continue
            metrics.TIMERS_FIRED.labels(type=row["type"]).inc()
            metrics.TIMERS_LATE.observe((now - row["due"]).total_seconds())
        return len(rows)

    async def _postpone(self, row: Row, now: datetime, why: str) -> None:
        log.error("timer_postponed", timer=row["id"], why=why)
        await self._database.update_row(
            self._raw, {"_id": row["_id"]}, {"$set": {"next": now + POSTPONED}}
        )

    def _input(self, row: Row) -> Input:
        return Input(
            id=row["id"],
            source=TIMERS,
            type=row["type"],
            hospital=row["hospital"],
            subject=row["subject"],
            time=row["due"],
            data=self._handlers[row["type"]].data.model_validate(row["data"]),
            correlation_id=row["correlation_id"],
            traceparent=row["traceparent"],
        )
