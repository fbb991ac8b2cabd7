"""What do the journeys run on? All services and the page, started once, on real parts.

Every test has people of its own, so none is in another's way.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from libs.common.devstack.day.cast import STAFF
from libs.common.devstack.day.records import practitioner
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.stack import Stack
from tests.e2e.given import Story

HERE = Path(__file__).parent
running = pytest.StashKey[ExitStack]()
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The platform of this run's own, with the page."""
    with ExitStack() as closing:
        request.config.stash[running] = closing
        stack = closing.enter_context(Stack(tmp_path_factory.mktemp("platform")))
        stack.start_page(wait=False)
        stack.start_services()
        stack.wait_ready("page")
        yield stack


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last journey the platform makes room for tests that start their own."""
    if nextitem is None or HERE not in nextitem.path.parents:
        closing = item.config.stash.get(running, None)
        if closing is not None:
            closing.close()


@pytest.fixture
async def wire(platform: Stack) -> AsyncIterator[Wire]:
    async with Wire.to(platform) as connected:
        yield connected


@pytest.fixture
async def story(wire: Wire) -> Story:
    """A new part of the hospital's life, with the staff known."""
    told = Story(wire, next(numbers))
    await wire.publish(*(practitioner(p, told.now()) for p in STAFF.values()))
    return told
