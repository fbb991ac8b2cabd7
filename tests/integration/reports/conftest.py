"""The reports service on the run's broker and database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common import logs
from libs.common.devstack.stack import Stack
from services.reports.main import SPEC
from tests.support.running import Running, running


@pytest.fixture
async def reports(stack: Stack) -> AsyncIterator[Running]:
    logs.configure("reports", level="WARNING")
    async with running(stack, SPEC) as service:
        yield service
