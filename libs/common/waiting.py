"""How long has what waits for a person waited?

A service names the places where something waits for people (``ServiceSpec.waits``). The
replica that holds the lease looks at each of them every few seconds: the oldest, and how
many. Both are read from an index that holds nothing but what waits, so that the look costs
the same however much there is that no longer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.lease import Lease
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable

log = structlog.get_logger()

#: Seconds between two looks: people answer in minutes at best.
LOOK: Final = 15.0
#: So many are counted; who needs the number beyond it has other worries.
COUNTED: Final = 10_000


def index_of_waiting(*fields: str, where: Row) -> Index:
    """An index of all hospitals on ``fields``, the last of which is the time since when it
    waits, that holds only what ``where`` finds."""
    return Index(fields, partial=where, all_hospitals=True)


@dataclass(frozen=True, slots=True)
class Wait:
    """What waits at ``stage``: documents of ``spec`` that ``where`` finds, since ``since``."""

    stage: str
    spec: CollectionSpec[Any]
    where: Row
    since: str


class Waiting:
    """The looks of one process; ``run`` until cancelled."""

    def __init__(
        self, waits: tuple[Wait, ...], *, database: Database, lease: Lease, ports: Ports
    ) -> None:
        self._waits, self._database, self._lease, self._ports = waits, database, lease, ports

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except (Unavailable, Conflict, Unstorable) as error:
                log.info("waiting_not_measured", why=str(error))
            await self._ports.clock.sleep(LOOK)

    async def look(self) -> None:
        if not self._lease.owned:
            # Somebody else says it; what we said last must not stand beside it.
            metrics.WAITING.clear()
            metrics.WAITING_OLDEST_AGE.clear()
            return
        for wait in self._waits:
            raw = self._database.raw(wait.spec.model.COLLECTION)
            oldest = await self._database.find_rows(
                raw, wait.where, sort=((wait.since, 1),), limit=1, fields=(wait.since,)
            )
            age = (self._ports.clock.now() - oldest[0][wait.since]).total_seconds() if oldest else 0
            count = await self._database.count_rows(raw, wait.where, limit=COUNTED)
            metrics.WAITING_OLDEST_AGE.labels(stage=wait.stage).set(max(0.0, age))
            metrics.WAITING.labels(stage=wait.stage).set(count)
