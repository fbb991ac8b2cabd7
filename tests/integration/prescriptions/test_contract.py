"""Does the running service answer whom it lets in as its own OpenAPI document says?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from libs.common.clock import Ports
from libs.common.devstack.stack import Stack
from libs.common.http.app import create_app
from services.prescriptions.main import SPEC
from tests.support.access import Callers
from tests.support.contract import obey

NAME = "prescriptions-7"  # a replica of our own beside whatever else runs


@pytest.fixture(scope="module")
def own(stack: Stack) -> Iterator[Stack]:
    """A process of its own, with a database of its own."""
    told = {"MONGO_DATABASE": "test-prescriptions-api", "KAFKA_GROUP": "test-prescriptions-api"}
    stack.migrate("prescriptions", environment=told)
    stack.start_service("prescriptions", replica=7, environment=told)
    yield stack
    stack.remove(NAME)


def document() -> dict[str, Any]:
    app = create_app(
        title="prescriptions",
        routers=SPEC.routers,
        access=SPEC.access,
        verifier=Callers().verifier,
        ports=Ports(),
        texts=SPEC.texts,
    )
    return app.openapi()


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: Any, own: Stack) -> None:
    roles = SPEC.access[(case.operation.method.upper(), case.operation.path)]
    known = roles if isinstance(roles, frozenset) else ()  # a public route looks at no token
    token = own.issuer().token(person="p1", hospital="h-api", roles=known, departments=["c1"])
    obey(case, {"Authorization": f"Bearer {token}"}, base_url=own.service_url(NAME))
