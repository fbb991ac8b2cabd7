"""Does something block the event loop, and if something hangs, where?

Kafka's heartbeat shares the loop: whoever blocks it long enough loses the partitions.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from libs.common import metrics

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
WINDOW_TICKS = 60
ALARM_SECONDS = 1.0


async def watch_loop() -> None:
    """Measure for ever how late the loop wakes us; warn above one second."""
    loop = asyncio.get_running_loop()
    window: deque[float] = deque(maxlen=WINDOW_TICKS)
    while True:
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lag = max(0.0, loop.time() - due)
        window.append(lag)
        metrics.LOOP_LAG.set(max(window))
        if lag > ALARM_SECONDS:
            log.warning("loop_lagged", lag_seconds=round(lag, 3))


def tell_tasks_when_asked() -> None:
    """From now on SIGUSR1 has the log say where each task of this loop stands."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        for task in sorted(asyncio.all_tasks(loop), key=lambda t: t.get_name()):
            stands = " > ".join(_places(task.get_coro()))
            log.warning("task_stands", task=task.get_name(), stands=stands)

    loop.add_signal_handler(signal.SIGUSR1, tell)


def _places(awaited: Any) -> Iterator[str]:
    """From the outermost call to what it waits for, each as its file, line and function."""
    while awaited is not None:
        kind = next((k for k in ("cr", "ag", "gi") if hasattr(awaited, f"{k}_frame")), None)
        frame = getattr(awaited, f"{kind}_frame", None) if kind else None
        if frame is None:
            return
        code = frame.f_code
        yield f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
