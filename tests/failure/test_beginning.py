"""What do services do that are started before there is a broker and a database?

They live, say what they wait for, and go to work by themselves once it is there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from tests.failure.conftest import require_our_own
from tests.failure.journeys import discharge
from tests.support.platform import Hospital, Platform, eventually


async def statuses(stack: Stack, path: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Of every service: what it answers, and for which reasons."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        answers = {n: await http.get(stack.service_url(n) + path) for n in SERVICES}
    return {n: (a.status_code, tuple(a.json().get("reasons", ()))) for n, a in answers.items()}


@pytest.mark.timeout(300)
async def test_services_wait_for_broker_database_and_collections_and_then_work(
    tmp_path: Path,
) -> None:
    require_our_own()

    async def all_are(status: int, *reasons: str) -> None:
        seen: dict[str, tuple[int, tuple[str, ...]]] = {}

        async def so() -> bool:
            nonlocal seen
            seen = await statuses(stack, "/readyz")
            return all(s == (status, reasons) for s in seen.values())

        try:
            await eventually(so, 60)
        except TimeoutError:
            raise AssertionError(f"not all are {status} for {reasons}: {seen}") from None

    stack = Stack(tmp_path)
    try:
        await asyncio.to_thread(stack.start)
        for part in ("kafka", "mongo"):
            stack.kill(part)
        for name in SERVICES:
            await asyncio.to_thread(stack.start_service, name, wait=False)

        await all_are(503, "database_unavailable", "broker_unavailable")
        assert set((await statuses(stack, "/livez")).values()) == {(200, ())}
        await asyncio.to_thread(stack.restart, "mongo")
        await all_are(503, "collections_missing", "broker_unavailable")
        await asyncio.to_thread(stack.migrate, *SERVICES)
        await all_are(503, "broker_unavailable")
        await asyncio.to_thread(stack.restart, "kafka")
        await all_are(200)

        async with Hospital(Platform(stack, smtp=0, webhook=0)) as hospital:
            await hospital.publish(discharge(hospital, 2, "NEURO", "I63.900x001"))
            await hospital.settled()
            assert len(await hospital.rows("notify", "inbox_messages")) == 1
    finally:
        await asyncio.to_thread(stack.stop)
