"""What does a service do whose topics are not there yet?"""

from __future__ import annotations

import uuid
from functools import partial

from libs.common import telemetry
from libs.common.clock import Ports
from libs.common.devstack.stack import Stack
from libs.common.migrate import migrate
from libs.common.runtime import Runtime
from services.reports.main import SPEC
from tests.support.topics import own_topics
from tests.support.toy import eventually


async def test_a_service_is_not_ready_before_its_topics_are_there_and_says_so(
    stack: Stack,
) -> None:
    name = f"test-reports-{uuid.uuid4().hex[:8]}"
    settings = SPEC.settings(
        environment="development",
        kafka_bootstrap_servers=stack.bootstrap,
        kafka_group=name,
        mongo_url=stack.mongo_url,
        mongo_database=name,
    )
    database = stack.database(name)
    await migrate(database, SPEC.collections)
    runtime = Runtime(
        SPEC, settings, Ports(), telemetry.setup("reports", sample_ratio=0.0, install=False)
    )
    try:
        async with runtime.running():

            async def not_ready(*reasons: str) -> bool:
                return runtime.readiness.why_not() == list(reasons)

            await eventually(partial(not_ready, "topics_missing"), 30)
            await own_topics(stack.bootstrap, name)
            await eventually(not_ready, 30)
    finally:
        await database.drop()
        await database.close()
