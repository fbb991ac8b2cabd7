"""What may be published by hand, and what not?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.examples import BODIES
from tests.unit.page.given import page

DISCHARGED = "hospital.encounter.discharged.v1"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(page(tmp_path)[0])
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
        yield made


def body(**changes: Any) -> bytes:
    whole = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/hospitals/h1/his",
        "type": DISCHARGED,
        "time": "2026-11-18T02:05:01Z",
        "hospital": "h1",
        "data": json.loads(BODIES[f"{DISCHARGED}/child"]),
    }
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize(
    ("sent", "content_type", "status", "why"),
    [
        (body(), "application/json", 415, "application/cloudevents+json"),
        (b"{", "application/cloudevents+json", 400, "not_json"),
        (body(hospital=None), "application/cloudevents+json", 400, "hospital"),
        (body(data={}), "application/cloudevents+json", 400, "schema_violation"),
        (body(type="hospital.coffee.made.v1"), "application/cloudevents+json", 400, "types"),
        (body(data={"x": "y" * 70_000}), "application/cloudevents+json", 413, "65536"),
    ],
)
async def test_what_is_no_event_is_refused_with_the_reason(
    client: httpx.AsyncClient, sent: bytes, content_type: str, status: int, why: str
) -> None:
    answer = await client.post("/events", content=sent, headers={"content-type": content_type})

    assert answer.status_code == status
    assert why in answer.json()["detail"]


async def test_what_only_the_platform_tells_cannot_be_published_by_hand(
    client: httpx.AsyncClient,
) -> None:
    type = "hospital.member.left.v1"
    (example,) = [BODIES[name] for name in BODIES if name.startswith(type)][:1]
    sent = body(type=type, data=json.loads(example))

    answer = await client.post(
        "/events", content=sent, headers={"content-type": "application/cloudevents+json"}
    )

    assert answer.status_code == 400
    assert "told by the platform" in answer.json()["detail"]
