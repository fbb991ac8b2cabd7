"""A toy service of its own for every test, on the run's real broker and database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common import logs
from libs.common.devstack.stack import Stack
from tests.support.toy import Broken, Toy


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    """The services' own logging; structlog's default would print whole states."""
    logs.configure("toy", level="WARNING")


@pytest.fixture
async def toy(stack: Stack) -> AsyncIterator[Toy]:
    Broken.on = False
    world = Toy(stack.bootstrap, stack.mongo_url)
    await world.prepare()
    yield world
    Broken.on = False
    await world.remove()
