"""Two replicas of the service for all tests here; each test takes a hospital of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.common.devstack.stack import Stack
from tests.integration.prescriptions.given import Hospital
from tests.integration.prescriptions.replicas import Replicas, replicas


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replicas]:
    folder = tmp_path_factory.mktemp("prescriptions")
    async with replicas(stack, folder) as started:
        yield started


@pytest.fixture
def hospital(service: Replicas) -> Hospital:
    return Hospital(service, f"h{uuid.uuid4().hex[:10]}")
