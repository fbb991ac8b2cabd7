"""What happens on one MLLP connection, from accept to close?

One message is in flight, and answers leave in the order of the messages. A sender that stops
half-way, sends without end or never reads costs bounded memory and its own connection; it
sends again whatever was not answered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from services.interop.edge.frames import Frames, framed
from services.interop.edge.tls import names

log = structlog.get_logger()

_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end. ``names``: of its verified certificate."""

    address: str
    port: int
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    max_connections: int = 256
    #: Of those, from one address.
    max_per_address: int = 32
    #: One message, without its framing. It is held twice while it is handed on.
    max_frame: int = 64 * 1024 * 1024
    #: Of all connections together: unfinished frames and messages in flight.
    max_held: int = 256 * 1024 * 1024
    #: Between two messages, before a stream is taken for something else than MLLP.
    max_junk: int = 64 * 1024
    #: Answers that wait for a peer to read them; beyond it we wait ``drain_timeout``.
    high_water: int = 64 * 1024
    handshake_timeout: float = 10.0
    #: From an answer, or from connecting, to the begin of a message.
    idle_timeout: float = 3_600.0
    #: Idle for longer, a connection gives way to a new one that finds no place; sooner if
    #: there was no message on it yet, or whoever only connects would keep senders out.
    give_way_after: float = 60.0
    give_way_unused_after: float = 5.0
    #: From the begin of a message to its end.
    frame_timeout: float = 60.0
    drain_timeout: float = 30.0
    close_timeout: float = 5.0


#: Gives the answer to one message; empty for none. What it says must be durable by then.
Handle = Callable[[bytes, Peer], Awaitable[bytes]]

#: Endings that are nobody's fault.
_QUIET: Final = frozenset({"ended", "idle", "stopping"})
#: Endings after which it is in vain to wait until the peer has read our answers.
_ABORT: Final = frozenset({"answers_not_read", "abandoned", "gave_way"})


class Held:
    """Bytes of unfinished frames and messages in flight, of all connections together."""

    def __init__(self, limit: int) -> None:
        self.size, self._limit = 0, limit
        self._by: dict[Connection, int] = {}

    def change(self, connection: Connection, size: int) -> None:
        """What ``connection`` holds from now on; if that is too much, whoever holds most ends."""
        self.size += size - self._by.pop(connection, 0)
        if size:
            self._by[connection] = size
        while self.size > self._limit:
            most = max(self._by, key=self._by.__getitem__)  # of equals, the one that rests longest
            self.size -= self._by.pop(most)  # now: it gets to know it only later
            most.end("memory_full")


class Connection:
    """``run`` until it ends; cancel it, or say why with ``end``, to end it."""

    def __init__(self, accepted: socket.socket, peer: Peer, held: Held) -> None:
        self._socket, self._peer, self._all = accepted, peer, held
        self._task: asyncio.Task[None] | None = None
        self._told: str | None = None  # by another, why it ends
        self._idle_since: float | None = None  # None but between messages
        self._used = False  # there was a message
        self.in_flight = False  # from a whole message to its answer
        self.last = False  # take no message after this one

    @property
    def address(self) -> str:
        return self._peer.address

    def spare(self, now: float, limits: Limits) -> float:
        """For how many seconds it could have given way to another; negative if it can't."""
        if self._idle_since is None:
            return -1.0
        keep = limits.give_way_after if self._used else limits.give_way_unused_after
        return now - self._idle_since - keep

    def end(self, why: str) -> None:
        """To be called while it runs."""
        self._told, self._idle_since = why, None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def run(self, handle: Handle, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self._task = asyncio.current_task()
        try:
            reader, writer = await self._open(limits, tls)
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError
            log.warning("mllp_handshake_failed", peer=self._peer.address, why=type(error).__name__)
            return
        ended = "failed"
        try:
            writer.transport.set_write_buffer_limits(high=limits.high_water)
            ended = await self._converse(reader, writer, handle, limits)
        except (OSError, EOFError) as error:
            ended = type(error).__name__
        except asyncio.CancelledError:
            ended = self._told or ("abandoned" if self.in_flight else "stopping")
        except Exception:
            log.exception("mllp_connection_failed", peer=self._peer.address)
        finally:
            self._idle_since = None
            self._all.change(self, 0)
            await _close(writer, 0 if ended in _ABORT else limits.close_timeout)
        level = log.debug if ended in _QUIET else log.warning
        level("mllp_closed", peer=self._peer.address, why=ended)

    async def _open(
        self, limits: Limits, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            self._socket,
            ssl=tls,
            ssl_handshake_timeout=limits.handshake_timeout if tls else None,
            ssl_shutdown_timeout=limits.close_timeout if tls else None,
        )
        verified = names(transport.get_extra_info("ssl_object"))
        self._peer = Peer(self._peer.address, self._peer.port, verified)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handle: Handle,
        limits: Limits,
    ) -> str:
        """Read and answer until something ends it: what."""
        now = asyncio.get_running_loop().time
        frames = Frames(limits.max_frame, limits.max_junk)
        self._idle_since = now()
        deadline, begun, junk = self._idle_since + limits.idle_timeout, False, False
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    data = await reader.read(_CHUNK)
            except TimeoutError:
                return "frame_timeout" if begun else "idle"
            if not data:
                return "frame_cut" if begun else "ended"
            messages = frames.feed(data)
            if messages or frames.open:
                self._idle_since = None
            self._all.change(self, frames.held + sum(map(len, messages)))
            if self._told:
                return self._told
            for message in messages:
                if failed := await self._answer(message, writer, handle, limits):
                    return failed
                if self.last:
                    return "stopping"
            self._all.change(self, frames.held)
            if frames.skipped and not junk:  # said once: some do so with every message
                junk = True
                log.warning("mllp_junk", peer=self._peer.address, bytes=frames.skipped)
            if frames.broken:
                return frames.broken
            # Junk moves no deadline, and neither does the next part of a frame.
            if frames.open and (messages or not begun):
                deadline = now() + limits.frame_timeout
            elif messages:
                self._idle_since = now()
                deadline = self._idle_since + limits.idle_timeout
            begun = frames.open

    async def _answer(
        self, message: bytes, writer: asyncio.StreamWriter, handle: Handle, limits: Limits
    ) -> str | None:
        """Have ``message`` handled, and send its answer; why that failed."""
        self.in_flight = self._used = True
        try:
            answer = await handle(message, self._peer)
        except Exception:  # not acknowledged: the sender sends it again
            log.exception("mllp_handler_failed", peer=self._peer.address)
            self.in_flight = False
            return "handler_failed"
        if writer.is_closing():  # uvloop's transports raise what is no OSError then
            return "gone"
        if answer:
            writer.write(framed(answer))
        try:
            async with asyncio.timeout(limits.drain_timeout):
                await writer.drain()
        except TimeoutError:
            return "answers_not_read"
        self.in_flight = False
        return None


async def _close(writer: asyncio.StreamWriter, timeout: float) -> None:
    """Close; abort what the peer has not read after ``timeout`` seconds."""
    writer.close()
    try:
        with suppress(OSError, EOFError):  # it had gone already
            async with asyncio.timeout(timeout):
                await writer.wait_closed()
    except asyncio.CancelledError:
        pass  # told a second time to stop: what is left is aborted, and then the task is over
    # After a close that was in time, this does nothing.
    writer.transport.abort()
