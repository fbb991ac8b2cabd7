"""Does a service end when a part of it has ended, however that came?"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.common.runtime import Runtime


class Part:
    """What runs beside what is tried."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def release(self) -> None: ...


async def fails() -> None:
    raise ValueError("a bug of ours")


async def returns() -> None: ...


async def is_cancelled_by_a_library() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("part", [fails, returns, is_cancelled_by_a_library])
async def test_a_half_running_service_ends(
    part: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    for name in ("freeze", "collect", "set_threshold"):  # not of the tests' own process
        monkeypatch.setattr(gc, name, lambda *_: None)
    runtime: Any = Runtime.__new__(Runtime)
    runtime.spec = SimpleNamespace(
        name="s", waits=(), topics=(), background=lambda _: [part()], listeners=lambda _: []
    )
    runtime.lease = runtime.relay = runtime.timers = Part()
    runtime.failed = runtime._leaving = False

    async def at_once() -> None: ...

    runtime.readiness = SimpleNamespace(first_contact=at_once)
    with capture_logs() as logs, pytest.raises((ValueError, RuntimeError)):
        async with asyncio.timeout(5):
            await runtime._run_when_possible()
    assert [line["event"] for line in logs] == ["part_failed"]
    assert runtime.failed
    assert raised == [signal.SIGTERM]
