"""A platform for tests that harm it: killed, fed with garbage, asked to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.common import logs
from libs.common.devstack.stack import Stack
from tests.simulators.smtp import MailServer, mail_server
from tests.simulators.webhooks import WebhookReceiver, webhook_receiver
from tests.support.otlp import Collector
from tests.support.platform import Hospital, Platform


def require_our_own() -> None:
    """Whoever names a broker or a database of their own does not want it killed."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "MONGO_URL"):
        if os.environ.get(name):
            pytest.skip(f"{name} names a part that is not ours to kill")


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Gets the spans of one trace in ten, as in a region."""
    found = Collector()
    with found.running():
        yield found


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Platform]:
    require_our_own()
    with Stack(tmp_path_factory.mktemp("platform")) as stack:
        sampled = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACE_SAMPLE_RATIO": "0.1"}
        stack.environment |= sampled
        yield Platform.over(stack)


@pytest.fixture
def platform(running: Platform) -> Platform:
    """All parts up, whatever the test before has left."""
    logs.configure("test", level="ERROR")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # tells each failed connection
    running.heal()
    return running


@pytest.fixture
async def hospital(platform: Platform) -> AsyncIterator[Hospital]:
    """A tenant of the test's own."""
    async with Hospital(platform) as own:
        yield own


@pytest.fixture
async def mails(platform: Platform) -> AsyncIterator[MailServer]:
    async with mail_server(platform.smtp) as server:
        yield server


@pytest.fixture
async def hooks(platform: Platform) -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver(platform.webhook) as receiver:
        yield receiver
