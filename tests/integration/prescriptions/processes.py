"""Replicas of the service as processes of their own, which can be killed.

Whoever hears nothing from one asks another one again, as a good client behind a balancer does.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

from libs.common.devstack.stack import Stack
from libs.common.kafka.producer import Producer
from tests.integration.prescriptions.replicas import MovableClock, Replicas
from tests.support.topics import own_topics

#: A request is repeated for so long; a replica comes up in some seconds, on a busy machine later.
PATIENCE = 120.0


class Insisting(httpx.AsyncBaseTransport):
    """Asks one replica, and the other one if that is not there, until there is an answer."""

    def __init__(self, urls: Sequence[str], first: int) -> None:
        self._ports = [httpx.URL(url).port for url in urls]
        self._first = first
        self._inner = httpx.AsyncHTTPTransport(retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + PATIENCE
        for n in itertools.count(self._first):
            request.url = request.url.copy_with(port=self._ports[n % len(self._ports)])
            with suppress(httpx.TransportError):
                answer = await self._inner.handle_async_request(request)
                await answer.aread()
                if answer.status_code != 503:
                    return answer
            if time.monotonic() > until:
                break
            await asyncio.sleep(0.1)
        raise httpx.ConnectError("no replica has answered", request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True)
class Processes(Replicas):
    """Replicas that can be killed, by their names in the stack."""

    names: Sequence[str] = ()

    def caller(
        self,
        person: str,
        *roles: str,
        hospital: str,
        departments: Iterable[str] = (),
        replica: int = 0,
    ) -> httpx.AsyncClient:
        token = self.issuer.token(
            person=person, hospital=hospital, roles=roles, departments=departments
        )
        urls = [self.stack.service_url(name) for name in self.names]
        return httpx.AsyncClient(
            transport=Insisting(urls, replica),
            base_url=urls[replica],
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE,
        )

    async def kill(self, name: str, after: float) -> None:
        """``kill -9`` after so many seconds, and start again."""
        await asyncio.sleep(after)
        await asyncio.to_thread(self.stack.kill, name)
        await asyncio.to_thread(self.stack.restart, name)


@asynccontextmanager
async def started(stack: Stack, name: str, *replicas: int) -> AsyncIterator[Processes]:
    """These replicas, with a database and a consumer group of their own, both called ``name``."""
    told = {"MONGO_DATABASE": name, "KAFKA_GROUP": name, "LOG_LEVEL": "WARNING"}
    await own_topics(stack.bootstrap, name)
    await asyncio.to_thread(stack.migrate, "prescriptions", environment=told)
    for n in replicas:
        stack.start_service("prescriptions", replica=n, environment=told, wait=False)
    names = [f"prescriptions-{n}" for n in replicas]
    database, producer = stack.database(name), Producer(stack.bootstrap)
    try:
        await asyncio.to_thread(stack.wait_ready, *names)
        await producer.start()
        yield Processes(stack, [], stack.issuer(), MovableClock(), database, producer, names)
        await producer.stop()
    finally:
        for part in names:
            await asyncio.to_thread(stack.remove, part)
        await database.drop()
        await database.close()
