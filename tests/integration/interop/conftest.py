"""Interop in the test's own loop, or as a process of its own, as its senders meet it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from libs.common import logs
from libs.common.devstack.child import Child
from libs.common.devstack.places import free_ports
from libs.common.devstack.stack import Stack
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from services.interop.main import SPEC
from tests.support import stored
from tests.support.running import Running, running
from tests.support.toy import eventually

HOSPITAL = "h1"  # every process has a database of its own


@dataclass(frozen=True)
class Process:
    """``port``: where it takes messages."""

    child: Child
    database: Database
    logged_before: int

    @property
    def port(self) -> int:
        return int(self.child.program.env["MLLP_PORT"])

    def logged(self) -> Iterator[dict[str, Any]]:
        """What it has logged since it was started."""
        with self.child.log.open("rb") as file:
            file.seek(self.logged_before)
            for line in file:
                if line.startswith(b"{") and line.endswith(b"}\n"):
                    yield json.loads(line)

    def memory(self) -> int:
        """Bytes that it has in memory now."""
        told = ["ps", "-o", "rss=", "-p", str(self.child.pid)]
        return int(subprocess.run(told, capture_output=True, check=True).stdout) * 1024

    async def rows(self, collection: str) -> list[Row]:
        query = {"hospital": HOSPITAL}
        return await stored.rows(self.database, SPEC.collections, collection, query)


@pytest.fixture
async def interop(stack: Stack) -> AsyncIterator[Running]:
    """With a port for HL7, and a hospital of its own."""
    logs.configure("interop", level="WARNING")
    hospital, (port,) = f"h{uuid.uuid4().hex[:8]}", free_ports(1)
    settings = {"interop_hospital": hospital, "mllp_port": port, "mllp_host": "127.0.0.1"}
    async with running(stack, SPEC, **settings) as service:
        service.hospital = hospital
        yield service


Start = Callable[..., AbstractAsyncContextManager[Process]]


@pytest.fixture
def interop_process(stack: Stack) -> Start:
    """``async with interop_process(MLLP_MAX_FRAME="…") as interop:``"""

    @asynccontextmanager
    async def start(**environment: str) -> AsyncIterator[Process]:
        name = f"test-interop-{uuid.uuid4().hex[:8]}"
        told = {"MONGO_DATABASE": name, "INTEROP_HOSPITAL": HOSPITAL, "LINGER_SECONDS": "0"}
        told |= environment
        replica = 9
        log = stack.folder / "logs" / f"interop-{replica}.log"
        before = log.stat().st_size if log.exists() else 0
        await asyncio.to_thread(stack.migrate, "interop", environment=told)
        child = await asyncio.to_thread(
            stack.start_service, "interop", replica=replica, environment=told
        )
        assert child.log == log
        database = stack.database(name)
        process = Process(child, database, before)

        async def listens() -> bool:
            # It is ready a moment before; a sender would try again.
            return any(line["event"] == "mllp_listening" for line in process.logged())

        try:
            await eventually(listens)
            yield process
        finally:
            await asyncio.to_thread(stack.remove, child.name)
            await database.drop()
            await database.close()

    return start
