"""How does a client reach the broker, and how does it come to its end?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiokafka.errors import KafkaError

from libs.common.broker import Broker

#: Seconds for an answer of the broker.
ACK_TIMEOUT = 30.0


class BusError(Exception):
    """The broker can't be reached or refuses. Wait, rebuild, try again."""


def reach(broker: Broker | str) -> dict[str, Any]:
    """How a client reaches it; a plain address lets in whoever comes."""
    try:
        return (Broker(broker) if isinstance(broker, str) else broker).options()
    except OSError as error:  # a certificate that is being replaced may be there in a moment
        raise BusError(f"{type(error).__name__}: {error.strerror or error}") from error


def end_if_cancelled() -> None:
    """To be asked in every loop that uses these clients and is waited for when it is cancelled.

    Where the library waits for tasks that it has cancelled itself, as when it closes, it swallows
    a cancellation of ours, too: a loop around that would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def ended(stopping: Awaitable[object], seconds: float) -> bool:
    """Whether a client has come to its end well and in time.

    aiokafka awaits tasks that it has cancelled itself, and their CancelledError comes out
    although nobody has cancelled us (aio-libs/aiokafka#647). So it is a task of its own.
    """
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()  # and not waited for: it may hold on to what it waits for
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, KafkaError | OSError):
        raise error
    return error is None


def cancel_tasks(*parts: object) -> None:
    """End what a client that could not end well has left running: a sender that goes on
    sending, a heartbeat that keeps a member in the group which reads nothing."""
    for part in parts:
        for value in () if part is None else list(vars(part).values()):
            for task in list(value) if isinstance(value, set) else (value,):
                if isinstance(task, asyncio.Task):
                    task.cancel()
