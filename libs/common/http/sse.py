"""How are events pushed to a client that keeps its request open?

As server-sent events (WHATWG HTML, section 9.2). A stream begins after ``Last-Event-ID``,
carries a heartbeat, and ends by our own act in two cases: the caller's token expires, or
we shut down; then it tells when to come back, each client at another moment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import anyio
from fastapi import Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from libs.common.clock import Ports

HEARTBEAT_SECONDS: Final = 15.0
#: How long a client waits before it connects again, in milliseconds: usually, and the
#: range over which a shutdown spreads them.
RETRY_MS: Final = 2_000
RETRY_SPREAD_MS: Final = 5_000
#: The last words must be out before the server's own grace ends.
FAREWELL_SECONDS: Final = 3.0

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=255,
        description="The id of the last event received; the stream goes on after it.",
    ),
]


class EventStream(EventSourceResponse):
    """For a route's ``response_class``, so that the documents name the media type."""

    media_type = "text/event-stream"


class Pushed(NamedTuple):
    """One event of a stream. ``data`` is sent as JSON."""

    id: str | None
    event: str
    data: Any


class Streams:
    """The open streams of one application (``app.state.streams``)."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Tell all clients to reconnect. Call it when the shutdown begins, from the loop."""
        self._closing.set()

    def response(
        self, events: AsyncIterator[Pushed], *, until: datetime | None = None
    ) -> EventStream:
        """Stream ``events`` until they end, the client goes, ``until``, or the shutdown."""
        # Set by sse-starlette when uvicorn is told to exit, should nobody call close().
        server_exits = anyio.Event()
        return EventStream(
            self._frames(events, server_exits, until),
            ping=HEARTBEAT_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="heartbeat"),
            shutdown_event=server_exits,
            shutdown_grace_period=FAREWELL_SECONDS,
        )

    async def _frames(
        self,
        events: AsyncIterator[Pushed],
        server_exits: anyio.Event,
        until: datetime | None,
    ) -> AsyncGenerator[ServerSentEvent, None]:
        # At once, so that the client sees the stream open.
        yield ServerSentEvent(comment="open", retry=RETRY_MS)
        ends = {
            asyncio.ensure_future(self._closing.wait()),
            asyncio.ensure_future(server_exits.wait()),
        }
        if until is not None:
            seconds = max(0.0, (until - self._ports.clock.now()).total_seconds())
            ends.add(asyncio.ensure_future(self._ports.clock.sleep(seconds)))
        coming: asyncio.Future[Pushed] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(_next(events))
                await asyncio.wait({coming, *ends}, return_when=asyncio.FIRST_COMPLETED)
                # However much waits: the client comes back for what is behind its last id.
                if any(end.done() for end in ends):
                    break
                try:
                    pushed = coming.result()
                except StopAsyncIteration:
                    break
                yield ServerSentEvent(
                    data=json.dumps(pushed.data, ensure_ascii=False),
                    event=pushed.event,
                    id=pushed.id,
                )
            yield ServerSentEvent(
                event="reconnect",
                data="{}",
                retry=RETRY_MS + int(RETRY_SPREAD_MS * self._ports.randomness.jitter()),
            )
        finally:
            # Shielded: when the client goes, every await in here would be cancelled again.
            with anyio.CancelScope(shield=True):
                await _cancelled(*ends, *([coming] if coming else []))
                if isinstance(events, AsyncGenerator):
                    await events.aclose()


async def _next(events: AsyncIterator[Pushed]) -> Pushed:
    return await anext(events)


async def _cancelled(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
