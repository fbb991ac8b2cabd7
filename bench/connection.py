"""How are a service's routes called so that the caller costs little beside it?

One HTTP/1.1 connection whose requests and answers are bytes; one request after the other.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Self


class Connection:
    """``took``: how many ms the last request waited for its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.took = 0.0

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(
        self, method: str, path: str, token: str, body: Any = None, **headers: str
    ) -> Mapping[str, Any]:
        """The answer's body; anything but a success is an error."""
        sent = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {token}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
        head += "".join(f"{name.replace('_', '-')}: {v}\r\n" for name, v in headers.items())
        began = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + sent)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        text = await self._reader.readexactly(length)
        self.took = (time.perf_counter() - began) * 1e3
        if not answer.startswith(b"http/1.1 2"):
            raise RuntimeError(f"{method} {path}: {answer.decode()}{text.decode()}")
        found: Mapping[str, Any] = json.loads(text)
        return found

    def close(self) -> None:
        self._writer.close()
