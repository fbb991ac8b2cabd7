"""Is whoever uses the broker's clients let go when he is cancelled?"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from libs.common.kafka import topics


async def test_who_asks_for_topics_is_let_go_while_the_client_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service that is to stop would go on starting."""
    closing, ended = asyncio.Event(), asyncio.Event()

    class Admin:
        def __init__(self, **_: Any) -> None: ...
        async def start(self) -> None: ...

        async def list_topics(self) -> list[str]:
            return []

        async def close(self) -> None:
            closing.set()
            with suppress(asyncio.CancelledError):  # as aiokafka's, of a task of its own
                await ended.wait()

    monkeypatch.setattr(topics, "AIOKafkaAdminClient", Admin)
    asking = asyncio.create_task(topics.topics_missing("localhost:1", ["t"]))
    await closing.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
