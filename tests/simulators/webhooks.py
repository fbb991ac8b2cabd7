"""A receiver of webhooks that does what a test tells it to, on the test's own event loop.

``script`` holds what happens to the next requests, one word each; when it is empty they
are answered with 204. Words: a status (``500``); ``429:7`` (with Retry-After); ``lose``
(takes it, then hangs up without an answer); ``hang`` (takes it and never answers);
``close`` (hangs up before it has read anything); ``flood`` (200 and a body without end);
``trickle`` (the same, byte by byte); ``redirect`` (307 to itself). ``answers`` holds words for
all requests whose body has a text.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11


@dataclass(frozen=True, slots=True)
class Received:
    """One request that was taken."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    word: str = "204"

    @property
    def taken(self) -> bool:
        """Whether its receiver has it: it said so, or wanted to."""
        return self.word.startswith("2") or self.word in ("lose", "flood", "trickle")

    @property
    def key(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


class WebhookReceiver:
    """``url`` is where it listens, ``received`` what it has taken so far."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.script: deque[str] = deque()
        self.answers: dict[str, str] = {}
        self.pace = 0.0  # seconds before each answer
        self.connections = 0
        self.port = 0
        self.came = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/inbox"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            await self._converse(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request, body = await self._request(http, reader)
            if request is None:
                return
            word = self.script.popleft() if self.script else self._answer_to(body)
            if word == "close":
                return
            await asyncio.sleep(self.pace)
            headers = {k.decode(): v.decode() for k, v in request.headers}
            if word != "redirect":
                self.received.append(Received(request.target.decode(), headers, body, word))
                self.came.set()
            if word == "lose":
                return
            if word == "hang":
                await asyncio.sleep(3600)
            await self._answer(http, writer, word)
            if http.our_state is not h11.DONE:
                return
            http.start_next_cycle()

    def _answer_to(self, body: bytes) -> str:
        words = (w for part, w in self.answers.items() if f'"{part}'.encode() in body)
        return next(words, "204")

    async def _request(
        self, http: h11.Connection, reader: asyncio.StreamReader
    ) -> tuple[h11.Request | None, bytes]:
        request, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if self.script and self.script[0] == "close":
                    self.script.popleft()
                    return None, b""
                http.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return request, body
            else:
                return None, b""

    async def _answer(self, http: h11.Connection, writer: asyncio.StreamWriter, word: str) -> None:
        status, _, retry_after = word.partition(":")
        headers = [("Content-Length", "0")]
        if retry_after:
            headers.append(("Retry-After", retry_after))
        if word == "redirect":
            status, headers = "307", [*headers, ("Location", self.url)]
        if word in ("flood", "trickle"):
            status, headers = "200", [("Transfer-Encoding", "chunked")]
        if status == "204":
            headers = []
        response = h11.Response(status_code=int(status), headers=headers)
        writer.write(http.send(response) or b"")
        size, pause = (1, 0.05) if word == "trickle" else (65536, 0.0)
        while word in ("flood", "trickle"):
            writer.write(http.send(h11.Data(data=b"x" * size)) or b"")
            await writer.drain()
            await asyncio.sleep(pause)
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()

    async def close(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def webhook_receiver(port: int = 0) -> AsyncIterator[WebhookReceiver]:
    """A running receiver on this machine, on a free port if none is given."""
    receiver = WebhookReceiver()
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", port)
    receiver.port = listening.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        listening.close()
        await receiver.close()
        await listening.wait_closed()
