"""A service as a child process with a database of its own, for the tests of its document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from libs.common.clock import Ports
from libs.common.devstack.stack import Stack
from libs.common.http.app import create_app
from libs.common.mongo.database import Database
from libs.common.runtime import ServiceSpec
from tests.support.access import Callers

REPLICA = 7  # beside whatever else runs


def document(spec: ServiceSpec) -> dict[str, Any]:
    """The service's OpenAPI document."""
    app = create_app(
        title=spec.name,
        routers=spec.routers,
        access=spec.access,
        verifier=Callers().verifier,
        ports=Ports(),
        texts=spec.texts,
        dialects=spec.dialects(spec.settings()),
    )
    return app.openapi()


@contextmanager
def own_process(stack: Stack, name: str) -> Iterator[str]:
    """The base URL of a replica that is ours alone."""
    database = f"test-{name}-api"
    told = {"MONGO_DATABASE": database, "KAFKA_GROUP": database}
    stack.migrate(name, environment=told)
    stack.start_service(name, replica=REPLICA, environment=told)
    replica = f"{name}-{REPLICA}"
    try:
        yield stack.service_url(replica)
    finally:
        stack.remove(replica)
        asyncio.run(_drop(stack.mongo_url, database))


async def _drop(mongo_url: str, name: str) -> None:
    database = Database(mongo_url, name)
    await database.drop()
    await database.close()
