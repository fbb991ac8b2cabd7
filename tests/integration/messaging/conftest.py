"""The messaging service on the run's broker and database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common import logs
from libs.common.devstack.stack import Stack
from services.messaging.main import new_spec
from tests.support.running import Running, running


@pytest.fixture
async def messaging(stack: Stack) -> AsyncIterator[Running]:
    logs.configure("messaging", level="WARNING")
    async with running(stack, new_spec()) as service:
        yield service
