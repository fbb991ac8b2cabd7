"""Which replica does a job that only one may do at a time?

A lease without a shared clock, as Kubernetes elects its leaders (client-go,
tools/leaderelection): the owner raises ``beat`` every third of the term; another
replica takes over after it has *watched* the same beat for a whole term by its own
monotonic clock. The owner counts its term from before it sent the last renewal and stops
a margin earlier, so two owners overlap only if one is stopped between looking at its
clock and writing. What an owner does must therefore be harmless when done twice.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from libs.common.clock import Ports
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable

log = structlog.get_logger()

LEASES = "leases"


class Lease:
    """One named lease of a service. ``run`` keeps trying to own it until cancelled."""

    def __init__(
        self,
        database: Database,
        name: str,
        ports: Ports,
        *,
        term: float = 4.0,
        changed: Callable[[bool], None] = lambda _owned: None,
    ) -> None:
        self._database = database
        self._raw = database.raw(LEASES)
        self._name = name
        self._me = ports.ids.new()
        self._ports = ports
        self._term = term
        self._changed = changed
        self._owned_until = float("-inf")
        self._beat = 0
        self._seen: tuple[str | None, int] | None = None
        self._seen_at = 0.0
        self._was_owned = False

    @property
    def owned(self) -> bool:
        """Whether this replica may act now (with a margin of a quarter of the term)."""
        return self._ports.clock.monotonic() < self._owned_until

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except (Unavailable, Unstorable, Conflict):
                log.warning("lease_unreachable", lease=self._name)
            self._tell()
            await self._ports.clock.sleep(self._term / 4)

    async def step(self) -> None:
        """Renew if owned, take over if lapsed, else watch."""
        asked = self._ports.clock.monotonic()
        if self._beat and await self._write(self._me, self._beat):
            self._owned_until = asked + self._term * 0.75
            return
        self._beat = 0
        rows = await self._database.find_rows(self._raw, {"_id": self._name})
        seen = (rows[0]["owner"], rows[0]["beat"]) if rows else (None, 0)
        looked = self._ports.clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, looked
        lapsed = seen[0] is None or looked - self._seen_at >= self._term
        if not lapsed:
            return
        if not rows:
            await self._database.update_row(
                self._raw,
                {"_id": self._name},
                {"$setOnInsert": {"owner": None, "beat": 0}},
                upsert=True,
            )
        self._beat = seen[1]
        asked = self._ports.clock.monotonic()
        if await self._write(seen[0], seen[1]):
            self._owned_until = asked + self._term * 0.75
        else:
            self._beat = 0

    async def _write(self, owner: str | None, beat: int) -> bool:
        won = await self._database.update_row(
            self._raw,
            {"_id": self._name, "owner": owner, "beat": beat},
            {"$set": {"owner": self._me, "beat": beat + 1}},
        )
        if won:
            self._beat = beat + 1
        return won

    async def release(self) -> None:
        """Give the lease up, so that another replica need not wait for the term."""
        self._owned_until = float("-inf")
        self._tell()
        if self._beat:
            beat, self._beat = self._beat, 0
            await self._database.update_row(
                self._raw,
                {"_id": self._name, "owner": self._me, "beat": beat},
                {"$set": {"owner": None, "beat": beat + 1}},
            )

    def _tell(self) -> None:
        if self.owned != self._was_owned:
            self._was_owned = self.owned
            log.info("lease_changed", lease=self._name, owned=self.owned)
            self._changed(self.owned)
