"""MLLP servers that do less than interop does, for its benchmark.

``hl7``: the ``hl7`` library's own server; parses and answers. ``read``: our port, our reading
and mapping and our answer, and nothing is kept. ``floor``: our port and parser, and one durable
write of the messages that have come while the last one was under way. Prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from libs.common import logs
from libs.common.mongo.database import Database
from services.interop.edge.connection import Handle, Limits, Peer
from services.interop.edge.hl7.ack import Code, acknowledge
from services.interop.edge.hl7.header import read_header
from services.interop.edge.hl7.message import parse
from services.interop.edge.mllp import MllpServer
from services.interop.main import load_policy
from services.interop.settings import Settings

POLICIES = Path(__file__).parents[1] / "policies"
BATCH = 64


async def hl7_library() -> int:
    from hl7.mllp import start_hl7_server

    async def converse(reader: Any, writer: Any) -> None:
        try:
            while True:
                message = await reader.readmessage()
                writer.writemessage(message.create_ack())
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await start_hl7_server(converse, "127.0.0.1", 0, encoding="utf-8")
    return int(server.sockets[0].getsockname()[1])


def read() -> Handle:
    senders = load_policy(Settings(policies_dir=POLICIES)).senders

    async def handle(raw: bytes, peer: Peer) -> bytes:
        now = datetime.now(UTC)
        received = senders.received(raw, now, peer.names)
        code = Code.AR if received.faults else Code.AA
        return acknowledge(read_header(raw), code, "1", now, received.faults)

    return handle


class Floor:
    """What arrives while a write runs is written together in the next one."""

    def __init__(self, database: Database) -> None:
        self._raw = database.raw("messages")
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def handle(self, raw: bytes, _peer: Peer) -> bytes:
        control_id = parse(raw).header.text(10)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(({"_id": control_id, "raw": raw}, future))
        self._arrived.set()
        await future
        return acknowledge(read_header(raw), Code.AA, "1", datetime.now(UTC))

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._raw.insert_many([row for row, _ in batch], ordered=False)
                for _, future in batch:
                    future.set_result(None)


async def _ours(handle: Handle) -> int:
    server = MllpServer(handle, Limits())
    await server.start("127.0.0.1", 0)
    return server.port


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["hl7", "read", "floor"])
    parser.add_argument("--mongo", required=True)
    arguments = parser.parse_args()
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    running: list[asyncio.Task[None]] = []
    if arguments.mode == "hl7":
        port = await hl7_library()
    elif arguments.mode == "read":
        port = await _ours(read())
    else:
        database = Database(arguments.mongo, "bench_mllp_floor")
        await database.drop()
        floor = Floor(database)
        running.append(asyncio.create_task(floor.run()))
        port = await _ours(floor.handle)
    # As interop has it after its start.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
