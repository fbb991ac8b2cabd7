"""Who may connect over MLLP, how many, and how does it end?

HL7's Minimal Lower Layer Protocol, Release 1, with TLS and client certificates as an option.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from services.interop.edge.connection import Connection, Handle, Held, Limits, Peer

log = structlog.get_logger()

_BACKLOG: Final = 128
#: Refused connections are logged at most once in so many seconds, with their number.
_LOG_EVERY: Final = 1.0


class MllpServer:
    """One listening port: ``start``, then ``stop``, once."""

    def __init__(
        self, handle: Handle, limits: Limits, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        # Asked anew for each connection: certificates are renewed while senders stay.
        self._handle, self._limits, self._tls = handle, limits, tls
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._held = Held(limits.max_held)
        self._refused, self._refused_logged = 0, 0.0

    @property
    def port(self) -> int:
        """Where it listens, for who asked for port 0."""
        if self._listener is None:
            raise RuntimeError("not listening")
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def held(self) -> int:
        """Bytes of unfinished frames and messages in flight."""
        return self._held.size

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises ``OSError`` when the port can't be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        log.info("mllp_listening", port=self.port, tls=self._tls is not None)
        self._accepting = asyncio.create_task(self._accept(self._listener), name="mllp-accept")

    async def accepting(self) -> None:
        """Wait for what never ends by itself. Raises what has ended it: a port that listens and
        takes nobody in would look alive."""
        if self._accepting is not None:
            await self._accepting

    async def stop(self, within: float = 10.0) -> None:
        """Take no new message; answer those in flight, ``within`` seconds; close."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        if self._listener is not None:
            self._listener.close()
        for task, connection in self._connections.items():
            connection.last = True
            if not connection.in_flight:
                task.cancel()
        if not self._connections:
            return
        _, late = await asyncio.wait(list(self._connections), timeout=within)
        if late:
            log.warning("mllp_abandoned", count=len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late)

    async def _accept(self, listener: socket.socket) -> None:
        # By hand, since asyncio's own server tells of a TLS connection only after its
        # handshake: those that never finish it would not be counted.
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:  # no file descriptors left, or the peer has gone already
                log.warning("mllp_accept_failed", error=type(error).__name__, errno=error.errno)
                await asyncio.sleep(0.1)
                continue
            await asyncio.sleep(0)  # a flood of connections must not keep the loop to itself
            peer = Peer(str(address[0]), int(address[1]))
            if not self._place_for(peer, loop.time()):
                accepted.close()
                self._count_refused(peer, loop.time())
                continue
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = Connection(accepted, peer, self._held)
            tls = self._tls() if self._tls is not None else None
            task = asyncio.create_task(
                connection.run(self._handle, self._limits, tls), name="mllp-connection"
            )
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)

    def _place_for(self, peer: Peer, now: float) -> bool:
        """Whether ``peer`` may connect; one that has long been idle gives way to it."""
        everybody = list(self._connections.values())
        its_own = [other for other in everybody if other.address == peer.address]
        if len(its_own) >= self._limits.max_per_address:
            in_its_way = its_own
        elif len(everybody) >= self._limits.max_connections:
            in_its_way = everybody
        else:
            return True
        longest = max(in_its_way, key=lambda other: other.spare(now, self._limits))
        if longest.spare(now, self._limits) <= 0:
            return False
        longest.end("gave_way")
        return True

    def _count_refused(self, peer: Peer, now: float) -> None:
        self._refused += 1
        if now - self._refused_logged >= _LOG_EVERY:
            log.warning("mllp_connections_full", refused=self._refused, last=peer.address)
            self._refused, self._refused_logged = 0, now
