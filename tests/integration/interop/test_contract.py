"""Does the running service answer whom it lets in as its own OpenAPI document says?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from libs.common.devstack.stack import Stack
from services.interop.main import SPEC
from tests.support.contract import obey
from tests.support.own_process import document, own_process


@pytest.fixture(scope="module")
def address(stack: Stack) -> Iterator[tuple[Stack, str]]:
    with own_process(stack, "interop") as url:
        yield stack, url


schema = schemathesis.openapi.from_dict(document(SPEC))


@schema.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: Any, address: tuple[Stack, str]) -> None:
    stack, url = address
    roles = SPEC.access[(case.operation.method.upper(), case.operation.path)]
    known = roles if isinstance(roles, frozenset) else ()  # a public route looks at no token
    # A partner of policies/partners, or nobody would come beyond the door.
    token = stack.issuer().token(person="sample-fhir", hospital="h1", roles=known)
    obey(case, {"Authorization": f"Bearer {token}"}, base_url=url)
