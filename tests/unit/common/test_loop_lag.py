"""Is a blocked event loop noticed?"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from libs.common import loop_lag, metrics


async def _watch_while(block_seconds: float) -> float:
    task = asyncio.create_task(loop_lag.watch_loop())
    await asyncio.sleep(0.02)
    if block_seconds:
        time.sleep(block_seconds)  # noqa: ASYNC251 - that is what shall be noticed
    await asyncio.sleep(0.02)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return metrics.REGISTRY.get_sample_value("loop_lag_seconds") or 0.0


async def test_a_blocked_loop_is_measured_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "TICK_SECONDS", 0.005)
    monkeypatch.setattr(loop_lag, "ALARM_SECONDS", 0.15)
    with capture_logs() as lines:
        assert await _watch_while(0.3) > 0.2
    assert [line["event"] for line in lines] == ["loop_lagged"]


async def test_a_free_loop_is_not_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "TICK_SECONDS", 0.005)
    with capture_logs() as lines:
        assert await _watch_while(0.0) < 1.0
    assert lines == []


async def test_who_asks_is_told_where_each_task_stands() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def hangs() -> None:
        await waits_for_ever()

    loop_lag.tell_tasks_when_asked()
    task = asyncio.create_task(hangs(), name="hanging")
    await asyncio.sleep(0)
    with capture_logs() as lines:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(500):
            await asyncio.sleep(0.01)
            if lines:
                break
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    task.cancel()
    [stands] = [line["stands"] for line in lines if line["task"] == "hanging"]
    functions = [place.split()[1] for place in stands.split(" > ")]
    assert functions == ["hangs", "waits_for_ever", "wait"]
