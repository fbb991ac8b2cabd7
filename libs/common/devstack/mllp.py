"""How does a hospital's system send HL7 v2, and what does it read back?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

VT, END = b"\x0b", b"\x1c\r"


@dataclass(frozen=True)
class Acknowledgement:
    """``code``: MSA-1; ``errors``: the ERR segments as they came."""

    code: str
    control_id: str
    errors: tuple[str, ...]
    text: str


class Sender:
    """One connection: ``async with Sender(port) as his: await his.send(message)``."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    async def send(self, message: bytes, seconds: float = 30) -> Acknowledgement:
        self._writer.write(VT + message + END)
        async with asyncio.timeout(seconds):
            answer = await self._reader.readuntil(END)
        return _read(answer.removeprefix(VT).removesuffix(END))


def _read(raw: bytes) -> Acknowledgement:
    """The answer has the sender's separators and character set; we need no more than ASCII."""
    text = raw.decode(errors="replace")
    segments = [line.split(text[3:4]) for line in text.split("\r") if line]
    msa = next(s for s in segments if s[0] == "MSA")
    errors = tuple(text[3:4].join(s) for s in segments if s[0] == "ERR")
    return Acknowledgement(msa[1], msa[2] if len(msa) > 2 else "", errors, text)
