"""Does the one glance see what waits, and say what does not answer?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import cast

import httpx
import pytest

from lianxin import installation
from lianxin.following import Following
from lianxin.installation import Installation
from lianxin.search import Search
from lianxin.status import ServiceStatus, _http, asked, read
from libs.common.kafka.admin import Group, Kafka, Place
from libs.common.kafka.record import Record


class Broker:
    """Every topic there is has one partition, and is read but for three of the replay topic."""

    async def group(self, _name: str) -> Group:
        return Group("Stable", 1)

    async def places(self, topics: Iterable[str]) -> list[Place]:
        return [(topic, 0) for topic in topics]

    async def ends(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        return {p: (0, 0 if p[0].endswith(".dlq") else 9) for p in places}

    async def committed(self, group: str) -> dict[Place, int]:
        topics = ["hospital.reports", "hospital.patients", "enrollment.events"]
        return {**{(t, 0): 9 for t in topics}, (f"{group}.replay", 0): 6}

    async def records(self, _spans: Mapping[Place, tuple[int, int]]) -> AsyncIterator[Record]:
        return
        yield


async def test_what_is_sent_to_be_read_again_waits_like_anything_else() -> None:
    status = ServiceStatus("reports")
    await read(Installation.of_environment({}), cast(Kafka, Broker()), status)
    assert status.lag == {"lianxin.reports.replay": 3}


async def test_a_part_that_does_not_answer_is_said_with_the_errors_name() -> None:
    async def silent(_: ServiceStatus) -> None:
        raise TimeoutError

    status = ServiceStatus("reports")
    await asked(status, "Kafka", silent)
    assert status.look == ["Kafka does not answer (TimeoutError)"]


async def test_each_replica_is_asked_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(_host: str) -> list[str]:
        return [f"10.0.0.{n}" for n in (1, 2, 3, 4)]

    def answer(request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        if host == "10.0.0.4":
            raise httpx.ConnectError("refused")
        if path == "/metrics":
            return httpx.Response(200, text=f"consumer_stopped {int(host == '10.0.0.2')}\n")
        return httpx.Response(503 if host == "10.0.0.3" else 200, text="no database")

    monkeypatch.setattr(installation, "addresses", addresses)
    client = partial(httpx.AsyncClient, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(httpx, "AsyncClient", client)
    here, status = Installation.of_environment({}), ServiceStatus("reports")
    async with client() as http:
        await _http(here, http, status)
    following = Following(Search(here, cast(Kafka, Broker()), 1))
    assert await following._stopped("reports"), "trace sees it as well"
    assert (status.serves, status.consumer_stopped) == ("2 of 4 ready", True)
    assert status.look == [
        "http://10.0.0.2:8003: its consumer has stopped: rejects flooded in;"
        " see `lianxin dlq list`",
        "http://10.0.0.3:8003: not ready: no database",
        "http://10.0.0.4:8003: HTTP does not answer (refused)",
    ]
