"""Does the running service answer every role as its own OpenAPI document says?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from libs.common.auth import Role
from libs.common.clock import Ports
from libs.common.devstack.stack import Stack
from libs.common.http.app import create_app
from libs.common.mongo.database import Database
from services.notify.main import SPEC
from tests.support.access import Callers
from tests.support.contract import obey

NAME = "notify-9"  # a replica of our own beside whatever else runs
DATABASE = "test-notify-api"
ROLES = ((Role.PATIENT,), (Role.OPS,), tuple(Role))


@pytest.fixture(scope="module")
def own(stack: Stack) -> Iterator[Stack]:
    """A process of its own, with a database of its own."""
    told = {"MONGO_DATABASE": DATABASE, "KAFKA_GROUP": DATABASE}
    stack.migrate("notify", environment=told)
    stack.start_service("notify", replica=9, environment=told)
    yield stack
    stack.remove(NAME)
    asyncio.run(_drop(stack.mongo_url))


async def _drop(mongo_url: str) -> None:
    database = Database(mongo_url, DATABASE)
    await database.drop()
    await database.close()


def document() -> dict[str, Any]:
    app = create_app(
        title="notify",
        routers=SPEC.routers,
        access=SPEC.access,
        verifier=Callers().verifier,
        ports=Ports(),
        texts=SPEC.texts,
    )
    return app.openapi()


def without_tokens(document: dict[str, Any]) -> dict[str, Any]:
    """Every call has a good token here: one that the generator spoils on the way is none."""
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    return document


# A live inbox never ends; test_service.py reads it.
schema = schemathesis.openapi.from_dict(without_tokens(document())).exclude(path="/v1/inbox/live")


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: Any, own: Stack) -> None:
    for roles in ROLES:
        token = own.issuer().token(person="p1", hospital="h-api", roles=roles)
        obey(case, {"Authorization": f"Bearer {token}"}, base_url=own.service_url(NAME))


def test_the_live_inbox_is_documented_as_a_stream() -> None:
    answers = document()["paths"]["/v1/inbox/live"]["get"]["responses"]
    assert "text/event-stream" in answers["200"]["content"]
