"""Does the running service answer each role as its own OpenAPI document says?

There is a renewal that they meet, so that documents are compared with more than refusals.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, settings

from libs.common.auth import Role
from libs.common.devstack.stack import Stack
from libs.common.http.access import PUBLIC
from services.prescriptions.main import SPEC
from tests.integration.prescriptions.given import Hospital
from tests.integration.prescriptions.processes import Processes, started
from tests.support.contract import obey
from tests.support.own_process import document

# A stream never ends; test_live.py reads them.
schema = schemathesis.openapi.from_dict(document(SPEC)).exclude(path_regex="/live$")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hospital(stack: Stack) -> AsyncIterator[Hospital]:
    async with started(stack, "test-prescriptions-api", 7) as own:
        yield Hospital(own, "h-api")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(hospital: Hospital) -> Mapping[str, str]:
    """What the parameters of some of the requests name."""
    await hospital.prescribe()
    refill = await hospital.renewed()
    return {
        "id": refill["id"],
        "patient_id": "p1",
        "prescription_id": "rx1",
        "hospital": hospital.id,
    }


@schema.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(
    case: Any, hospital: Hospital, known: Mapping[str, str]
) -> None:
    own = hospital.service
    assert isinstance(own, Processes)
    url = own.stack.service_url(own.names[0])
    rule = SPEC.access[(case.operation.method.upper(), case.operation.path)]
    allowed: frozenset[Role] = frozenset() if rule is PUBLIC else rule
    # Each role that is let in by itself, and one that is not; a public route looks at no token.
    stranger = next(role for role in Role if role not in allowed)
    for role in (stranger, *allowed):
        token = own.issuer.token(
            person="p1", hospital=hospital.id, roles=[role], departments=["cardiology"]
        )
        headers = {"Authorization": f"Bearer {token}"}
        obey(case, headers, base_url=url)
        if case.meta.generation.mode.is_positive:
            obey(_about(case, known), headers, base_url=url)


def _about(case: Any, known: Mapping[str, str]) -> Any:
    """The same request about something that there is."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part |= {name: value for name, value in known.items() if name in part}
    return case


def test_the_streams_are_documented_as_such() -> None:
    paths = document(SPEC)["paths"]
    streams = {path: item for path, item in paths.items() if path.endswith("/live")}
    assert len(streams) == 3
    for item in streams.values():
        assert "text/event-stream" in item["get"]["responses"]["200"]["content"]
