"""Do streams go on where they stopped, and end when they should?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

import anyio
import pytest

from libs.common.clock import Ports
from libs.common.http.sse import RETRY_MS, RETRY_SPREAD_MS, Pushed, Streams
from tests.support.access import client
from tests.support.http_sample import START, CountedIds, SetClock, sample


def frames_of(text: str) -> list[dict[str, str]]:
    """A stream's text as a browser would read it."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if fields:
            found.append(fields)
    return found


async def test_a_stream_carries_ids_events_and_json() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("nurse")) as c:
        answer = await c.get("/v1/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    opening, *counted, farewell = frames_of(answer.text)
    assert opening["retry"] == str(RETRY_MS)
    assert counted == [
        {"id": str(n), "event": "counted", "data": f'{{"n": {n}}}'} for n in (1, 2, 3)
    ]
    assert farewell["event"] == "reconnect"


async def test_a_stream_goes_on_after_the_last_event_received() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("nurse"), **{"Last-Event-ID": "2"}) as c:
        answer = await c.get("/v1/stream")
    assert [f["id"] for f in frames_of(answer.text) if "id" in f] == ["3"]


async def test_a_last_event_id_that_is_none_of_ours_is_400() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("nurse"), **{"Last-Event-ID": "x" * 256}) as c:
        answer = await c.get("/v1/stream")
    assert answer.status_code == 400


class Endless:
    """A source that gives what it is told, and knows whether it was closed."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[Pushed] = asyncio.Queue()
        self.closed = False
        self.asked_again = asyncio.Event()

    async def events(self) -> AsyncGenerator[Pushed, None]:
        try:
            while True:
                yield await self.coming.get()
                self.asked_again.set()
        finally:
            await asyncio.sleep(0)  # closing may take a moment
            self.closed = True


class Opened:
    """A stream read frame by frame."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.streams = Streams(Ports(clock=self.clock, ids=CountedIds()))
        self.source = Endless()
        self.server_exits = anyio.Event()
        until = START + timedelta(hours=1)
        self.frames = self.streams._frames(self.source.events(), self.server_exits, until)

    async def next(self) -> dict[str, str]:
        frame = await asyncio.wait_for(anext(self.frames), 5)
        (found,) = frames_of(frame.encode().decode())
        return found

    async def assert_farewell(self) -> None:
        farewell = await self.next()
        assert farewell["event"] == "reconnect"
        assert RETRY_MS <= int(farewell["retry"]) < RETRY_MS + RETRY_SPREAD_MS
        with pytest.raises(StopAsyncIteration):
            await anext(self.frames)
        assert self.source.closed


async def test_at_shutdown_clients_are_told_to_come_back_and_the_source_is_closed() -> None:
    stream = Opened()
    await stream.next()
    stream.source.coming.put_nowait(Pushed("7", "message", {"text": "你好"}))
    assert (await stream.next())["data"] == '{"text": "你好"}'
    stream.streams.close()
    await stream.assert_farewell()


async def test_at_shutdown_nobody_waits_until_all_that_waits_was_sent() -> None:
    stream = Opened()
    await stream.next()
    for n in range(3):
        stream.source.coming.put_nowait(Pushed(str(n), "message", {}))
    assert (await stream.next())["id"] == "0"
    stream.streams.close()
    await asyncio.sleep(0)
    while (frame := await stream.next())["event"] != "reconnect":
        assert frame["id"] == "1", "one was under way"
    with pytest.raises(StopAsyncIteration):
        await anext(stream.frames)
    assert stream.source.closed


async def test_the_servers_own_exit_is_enough() -> None:
    stream = Opened()
    await stream.next()
    stream.server_exits.set()
    await stream.assert_farewell()


async def test_a_stream_ends_with_the_token_that_opened_it() -> None:
    stream = Opened()
    await stream.next()
    waiting = asyncio.create_task(stream.next())
    await stream.clock.has_sleepers.wait()
    stream.clock.advance(3599)
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.clock.advance(1)
    assert (await waiting)["event"] == "reconnect"


async def test_when_the_client_goes_the_source_is_closed() -> None:
    stream = Opened()
    await stream.next()
    waiting = asyncio.create_task(stream.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.frames.aclose()
    assert stream.source.closed


async def test_when_the_client_goes_between_two_events_the_source_is_closed() -> None:
    stream = Opened()
    await stream.next()
    stream.source.coming.put_nowait(Pushed("1", "a", {}))
    await stream.next()
    await stream.frames.aclose()
    assert stream.source.closed


async def test_when_an_anyio_scope_is_cancelled_the_source_is_closed_too() -> None:
    # sse-starlette cancels the whole task group; every later await in it is cancelled again.
    stream = Opened()

    async def read() -> None:
        async for _ in stream.frames:
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for _ in range(5):
            await asyncio.sleep(0)
        group.cancel_scope.cancel()
    assert stream.source.closed


async def test_an_error_of_the_source_is_not_hidden() -> None:
    async def broken() -> AsyncIterator[Pushed]:
        yield Pushed("1", "a", None)
        raise ValueError("broken")

    streams = Streams(Ports(clock=SetClock()))
    frames = streams._frames(broken(), anyio.Event(), None)
    await anext(frames)
    await anext(frames)
    with pytest.raises(ValueError, match="broken"):
        await anext(frames)


async def test_streams_close_while_they_are_served() -> None:
    s = sample()
    source = Endless()
    s.app.state.events = lambda last: source.events()
    async with client(s.app, **s.callers.headers("nurse")) as c:
        answer = asyncio.create_task(c.get("/v1/stream"))
        source.coming.put_nowait(Pushed("1", "a", {}))
        await source.asked_again.wait()
        s.app.state.streams.close()
        text = (await answer).text
    assert [f.get("event") for f in frames_of(text)] == [None, "a", "reconnect"]
    assert source.closed
