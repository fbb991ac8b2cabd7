"""Does something block the event loop?

Kafka's heartbeat shares the loop: whoever blocks it long enough loses the partitions.
"""

from __future__ import annotations

import asyncio
from collections import deque

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
