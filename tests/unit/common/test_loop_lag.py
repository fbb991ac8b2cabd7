"""Is a blocked event loop noticed?"""

from __future__ import annotations

import asyncio
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
