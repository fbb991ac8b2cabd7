"""Is it said how far a replay had come when it ended half-way?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lianxin import sending, trail
from lianxin.installation import Installation
from lianxin.records import Told
from lianxin.sending import Choice, send_again
from libs.common.audit import Outcome
from libs.common.kafka.admin import Kafka
from libs.common.kafka.client import BusError

TOPIC = "hospital.reports"
TOLD = Told("e-1", "/test/his", "t", "h1", None, None, None, None)


class Looking:
    """Three records of a topic."""

    async def places(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        return [(topic, 0) for topic in topics]

    async def records(self, _spans: object) -> AsyncIterator[Any]:
        for offset in range(3):
            yield SimpleNamespace(
                topic=TOPIC, partition=0, offset=offset, timestamp=1, key=b"k", value=b"{}",
                headers=[],
            )  # fmt: skip


class Breaking:
    """A producer whose broker goes away after the first chunk."""

    def __init__(self, _broker: object) -> None:
        self.sent = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def abandon(self) -> None: ...

    async def send(self, rows: Sequence[Any]) -> Sequence[Any]:
        self.sent += 1
        if self.sent > 1:
            raise BusError("KafkaTimeoutError")
        return rows


async def test_what_was_sent_before_it_broke_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[tuple[str, Outcome | None, str]] = []

    async def record(
        *_: object, run: str, outcome: Outcome | None = None, why: str = "", **_said: object
    ) -> None:
        written.append((run, outcome, why))

    monkeypatch.setattr(sending, "Producer", Breaking)
    monkeypatch.setattr(trail, "record", record)
    choice = Choice("reports", {(TOPIC, 0, n): TOLD for n in range(3)}, "replay", "ann", rate=1)
    installation = Installation.of_environment({})
    async with installation.open():
        with pytest.raises(BusError):
            await send_again(installation, cast(Kafka, Looking()), choice)
    (run,) = {run for run, *_ in written}
    begun, failed = (run, None, ""), (run, Outcome.SERIOUS_FAILURE, "BusError")
    assert written == [begun, begun, failed], "written down before it is sent, and that it broke"
    said = capsys.readouterr().err
    assert "1 of 3 were sent" in said and f"run {run}" in said
