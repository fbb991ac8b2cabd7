"""Does a sender that behaves notice what others do to the same service?

On interop as a process: its memory is what the operating system says, its connections are
those that it would have in production. Meanwhile another sender sends one message after the
other; each has to be acknowledged, and kept.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libs.common.devstack.mllp import END, VT, Sender
from services.interop.edge.connection import Limits
from tests.integration.interop.authority import Authority
from tests.integration.interop.conftest import Process, Start
from tests.integration.interop.given import discharge
from tests.support.toy import eventually

MIB = 1024 * 1024
LIMITS = Limits()
CHUNK = b"x" * MIB
#: Short, so that the tests are; the sizes are those of production.
TIMES = {"MLLP_FRAME_SECONDS": "2", "MLLP_UNREAD_SECONDS": "2"}
#: Bytes by which the process may grow for one unfinished message: as it is held in one piece
#: that grows, allocators keep an eighth more. And for all of them together.
ONE_MESSAGE = LIMITS.max_frame * 9 // 8 + 16 * MIB
ALL_MESSAGES = LIMITS.max_held * 9 // 8 + 32 * MIB


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """A thousand sockets, and more for the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Watched:
    """What happened to interop, and to the sender that behaves, while others did not."""

    interop: Process
    answered: int = 0
    memory: int = 0  # at most, above what it had before
    _ids: list[str] = field(default_factory=list)

    async def behave(self, sender: Sender) -> None:
        while True:
            self._ids.append(f"good-{len(self._ids)}")
            assert (await sender.send(discharge(self._ids[-1]))).code == "AA"
            self.answered += 1
            await asyncio.sleep(0.02)

    async def watch(self) -> None:
        before = self.interop.memory()
        while True:
            self.memory = max(self.memory, await asyncio.to_thread(self.interop.memory) - before)
            await asyncio.sleep(0.05)

    def endings(self) -> list[str]:
        """Why connections were closed."""
        return [e["why"] for e in self.interop.logged() if e["event"] == "mllp_closed"]


@asynccontextmanager
async def watched(interop: Process) -> AsyncIterator[Watched]:
    """Another sender is served throughout, before and after, and every message of it is kept."""
    seen = Watched(interop)
    async with Sender(interop.port) as sender:
        await sender.send(discharge("first"))  # interpreter and driver have what they keep
        tasks = [asyncio.create_task(t) for t in (seen.behave(sender), seen.watch())]
        try:
            yield seen
            before = seen.answered
            await eventually(lambda: _more(seen, before + 5))
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(e) for e in ended] == [asyncio.CancelledError] * 2, ended
    stored = {r["control"] for r in await interop.rows("messages")}
    assert {f"HIS|LOAD|good-{n}" for n in range(seen.answered)} <= stored


async def _more(seen: Watched, than: int) -> bool:
    return seen.answered > than


async def _closed(seen: Watched, why: str, times: int = 1) -> bool:
    return seen.endings().count(why) >= times


async def connect(port: int, address: str = "127.0.0.1") -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    return writer


async def pushed(writer: asyncio.StreamWriter, bytes: int) -> int:
    """Write so many bytes, or as many as are taken before the connection ends."""
    sent = 0
    with suppress(ConnectionError):
        while sent < bytes:
            writer.write(CHUNK)
            await writer.drain()
            sent += len(CHUNK)
    return sent


async def test_a_message_of_a_gigabyte(interop_process: Start) -> None:
    async with interop_process(**TIMES) as interop, watched(interop) as seen:
        writer = await connect(interop.port)
        writer.write(VT)
        assert await pushed(writer, 1024 * MIB) < 2 * LIMITS.max_frame, "it is not read to its end"
        await eventually(lambda: _closed(seen, "frame_too_large"))
        assert seen.memory < ONE_MESSAGE


async def test_many_messages_that_are_never_finished(interop_process: Start) -> None:
    """More than twice as much as may be held of all of them together."""
    async with interop_process(MLLP_FRAME_SECONDS="60") as interop, watched(interop) as seen:
        writers = [await connect(interop.port, f"127.0.0.{n}") for n in (2, 3) for _ in range(27)]
        for writer in writers:
            writer.write(VT)
        await asyncio.gather(*(pushed(w, 10 * MIB - 1) for w in writers))
        await eventually(lambda: _closed(seen, "memory_full", 20))
        assert seen.memory < ALL_MESSAGES
        for writer in writers:
            writer.transport.abort()


async def test_who_stops_in_the_middle_of_a_message_or_sends_it_byte_by_byte(
    interop_process: Start,
) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for byte in VT + discharge("slow") + END:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)

    async with interop_process(**TIMES) as interop, watched(interop) as seen:
        stopped = [await connect(interop.port) for _ in range(15)]
        slow = [await connect(interop.port) for _ in range(15)]
        for writer in stopped:
            writer.write(VT + discharge("half")[:100])
        await asyncio.gather(*map(trickle, slow))
        await eventually(lambda: _closed(seen, "frame_timeout", 30))
        assert seen.memory < ONE_MESSAGE
        kept = {r["control"] for r in await interop.rows("messages")}
        assert not kept & {"HIS|LOAD|half", "HIS|LOAD|slow"}


async def test_who_never_reads_an_acknowledgement(interop_process: Start) -> None:
    async def flood(writer: asyncio.StreamWriter, name: str) -> None:
        with suppress(ConnectionError):
            for n in range(100_000):
                # Each is refused in a few words; none of them is read.
                writer.write(VT + f"MSH|^~\\&|HIS|{name}|{'x' * 4_000}\rPID|{n}\r".encode() + END)
                await writer.drain()

    async with interop_process(**TIMES) as interop, watched(interop) as seen:
        writers = []
        for n in range(4):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", interop.port))
            _, writer = await asyncio.open_connection(sock=raw)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writers.append((writer, f"unread-{n}"))
        await asyncio.gather(*(flood(*w) for w in writers))
        await eventually(lambda: _closed(seen, "answers_not_read", len(writers)))
        assert seen.memory < ONE_MESSAGE


async def test_garbage_before_messages_and_instead_of_them(interop_process: Start) -> None:
    async with interop_process(**TIMES) as interop, watched(interop) as seen:
        noisy, lost = await connect(interop.port), await connect(interop.port)
        noisy.write(b"\xff\x00hello" * 100 + VT + discharge("after noise") + END)
        await pushed(lost, 10 * MIB)
        await eventually(lambda: _closed(seen, "too_much_junk"))

        async def kept() -> bool:
            rows = await interop.rows("messages")
            return "HIS|LOAD|after noise" in {r["control"] for r in rows}

        await eventually(kept)
        junk = [e["bytes"] for e in interop.logged() if e["event"] == "mllp_junk"]
        assert sorted(junk)[0] == 700
        noisy.close()


@pytest.mark.parametrize("addresses", [1, 10])
async def test_a_thousand_connections_at_once(interop_process: Start, addresses: int) -> None:
    async with interop_process(**TIMES) as interop, watched(interop) as seen:
        from_ = [f"127.0.0.{2 + n % addresses}" for n in range(1_000)]
        writers = await asyncio.gather(
            *(connect(interop.port, a) for a in from_), return_exceptions=True
        )
        events = [e["event"] for e in interop.logged()]
        assert 1 <= events.count("mllp_connections_full") < 20, "said, and not a thousand times"

        # Though the places are taken, who comes to send is let in after some seconds.
        async def let_in() -> bool:
            async with Sender(interop.port) as late:
                return (await late.send(discharge("late"), 5)).code == "AA"

        async def tried() -> bool:
            with suppress(OSError, EOFError, TimeoutError):
                return await let_in()
            return False

        await eventually(tried, 60)
        assert seen.memory < ONE_MESSAGE
        for writer in writers:
            if isinstance(writer, asyncio.StreamWriter):
                writer.transport.abort()


async def test_handshakes_that_are_never_finished(interop_process: Start, tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    tls = {"MLLP_TLS_CERT": str(ours.issue("server")), "MLLP_TLS_CLIENT_CA": str(ours.path)}
    context = ssl.create_default_context(cafile=str(ours.path))
    context.load_cert_chain(ours.issue("his.example"))
    async with interop_process(**TIMES, **tls) as interop:
        silent = [await connect(interop.port) for _ in range(25)]
        silent[0].write(b"\x16\x03\x01\x02\x00")  # a hello that breaks off
        silent[1].write(VT + discharge("in the clear") + END)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", interop.port, ssl=context, server_hostname="localhost"
        )

        async def ended() -> bool:
            failed = [e for e in interop.logged() if e["event"] == "mllp_handshake_failed"]
            return len(failed) == len(silent)

        waiting = asyncio.create_task(eventually(ended, 30))
        n = 0
        while not waiting.done():
            writer.write(VT + discharge(f"tls-{n}") + END)
            assert b"MSA|AA" in await reader.readuntil(END)
            n += 1
            await asyncio.sleep(0.05)
        await waiting
        writer.close()
        stored = {r["control"] for r in await interop.rows("messages")}
        assert stored == {f"HIS|LOAD|tls-{i}" for i in range(n)}
