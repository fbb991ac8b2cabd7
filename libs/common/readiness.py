"""When can a service serve, and what does it wait for until then?

It is ready once broker and database have answered and have its topics and collections; from
then on only the database counts, because without the broker people can still read and act
while the outbox waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from libs.common.broker import Broker
from libs.common.clock import Ports
from libs.common.kafka.client import BusError
from libs.common.kafka.topics import topics_missing
from libs.common.migrate import missing
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable, Unstorable

log = structlog.get_logger()


class Readiness:
    """Of one service."""

    def __init__(
        self,
        *,
        service: str,
        broker: Broker,
        database: Database,
        topics: Sequence[str],
        collections: Sequence[CollectionSpec[Any]],
        buckets: Sequence[str],
        ports: Ports,
    ) -> None:
        self._service, self._broker, self._database, self._ports = service, broker, database, ports
        self._topics, self._collections, self._buckets = topics, collections, buckets
        self.begun = False  # broker and database have both answered once
        self._reachable = False  # the database answered a moment ago
        self._waiting_for: list[str] = ["starting"]

    def why_not(self) -> list[str]:
        """Why this service can't serve now; empty when it can."""
        if not self.begun:
            return self._waiting_for
        return [] if self._reachable else ["database_unavailable"]

    async def watch(self) -> None:
        """Ask the database every second whether it is there, for ever."""
        while True:
            try:
                async with asyncio.timeout(2):
                    await self._database.ping()
                self._reachable = True
            except (Unavailable, Unstorable, TimeoutError):
                self._reachable = False
            await self._ports.clock.sleep(1)

    async def first_contact(self) -> None:
        """Wait until broker and database are there and have all that the service needs."""
        attempt = 0
        while True:
            waiting_for = await self._absent()
            if not waiting_for:
                break
            attempt += 1
            self._waiting_for = waiting_for
            log.info("waiting_for", service=self._service, parts=waiting_for)
            await self._ports.clock.sleep(self._ports.backoff(attempt, base=0.2, cap=2.0))
        self.begun = True
        log.info("ready", service=self._service)

    async def _absent(self) -> list[str]:
        absent = []
        try:
            if unmade := await missing(self._database, self._collections, self._buckets):
                absent.append("collections_missing")
                log.info("collections_missing", service=self._service, names=unmade)
        except Unavailable:
            absent.append("database_unavailable")
        try:
            if unmade := await topics_missing(self._broker, self._topics):
                absent.append("topics_missing")
                log.info("topics_missing", service=self._service, names=unmade)
        except BusError:
            absent.append("broker_unavailable")
        return absent
