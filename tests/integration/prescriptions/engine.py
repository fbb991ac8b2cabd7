"""A hospital's rule engine over HTTP, as docs/clinical-checks.md describes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

KINDS = ("allergy", "duplicate", "interaction", "dose", "pregnancy", "age")


def alert(severity: str = "major", id: str = "ddi-1", check: str = "interaction") -> dict[str, Any]:
    return {
        "check": check,
        "verdict": "alert",
        "id": id,
        "severity": severity,
        "text": {"zh-CN": "不宜合用。", "en": "Better not together."},
        "source": ["a label"],
    }


@dataclass
class Engine:
    """``findings``: what it says besides that everything else passed. ``status``, ``delay``,
    ``change`` (of its answer) and ``raw`` (instead of one) are its faults."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    delay: float = 0.0
    trickle: float = 0.0
    change: Callable[[dict[str, Any]], Any] = lambda answer: answer
    raw: bytes | None = None
    busy: set[Any] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = json.loads(await reader.readexactly(length))
            self.asked.append(body)
            await asyncio.sleep(self.delay)
            content = json.dumps(self.change(self.answer(body))).encode()
            content = content if self.raw is None else self.raw
            writer.write(
                f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\n"
                f"Location: http://127.0.0.1:9/\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            )
            for n in range(0, len(content), 20) if self.trickle else ():
                writer.write(content[n : n + 20])
                await writer.drain()
                await asyncio.sleep(self.trickle)
            if not self.trickle:
                writer.write(content)
            await writer.drain()
        except ConnectionError:
            pass  # the caller did not wait for it
        finally:
            writer.close()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        said = {f["check"] for f in self.findings}
        passed = [{"check": k, "verdict": "passed"} for k in KINDS if k not in said]
        return {
            "id": body["id"],
            "engine": {"name": "test engine", "version": "2026.11"},
            "checks": [*self.findings, *passed],
        }


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[str]:
    """Its address."""
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    async with server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/checks"
        finally:
            await asyncio.gather(*engine.busy)


@contextmanager
def having(engine: Engine, **changes: Any) -> Iterator[None]:
    before = {name: getattr(engine, name) for name in changes}
    for name, value in changes.items():
        setattr(engine, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(engine, name, value)
