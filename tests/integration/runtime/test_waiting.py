"""What is said of what waits for a person, by whom, and what does the look cost?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from importlib import import_module
from typing import ClassVar

import pytest
from prometheus_client import Gauge
from prometheus_client.samples import Sample

from libs.common import metrics
from libs.common.decision import Document
from libs.common.lease import Lease
from libs.common.migrate import migrate
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.documents import Row
from libs.common.waiting import Wait, Waiting, index_of_waiting
from tests.support.counted import counted
from tests.support.toy import Toy


class Ask(Document):
    COLLECTION: ClassVar[str] = "asks"

    status: str
    at: datetime


OPEN: Row = {"status": "open"}
ASKS = CollectionSpec(Ask, (index_of_waiting("status", "at", where=OPEN),))


@pytest.fixture
async def waiting(toy: Toy) -> AsyncIterator[Waiting]:
    await migrate(toy.database, [ASKS])
    lease = Lease(toy.database, "owner", toy.ports)
    await lease.step()
    waits = (Wait("doctor", ASKS, OPEN, "at"), Wait("question", ASKS, {"status": "asked"}, "at"))
    yield Waiting(waits, database=toy.database, lease=lease, ports=toy.ports)
    metrics.WAITING.clear()
    metrics.WAITING_OLDEST_AGE.clear()


async def _asked(toy: Toy, status: str, *minutes: int) -> None:
    now = toy.ports.clock.now()
    async with toy.database.transaction() as tx:
        rows = [
            {
                "_id": f"h{n}/{status}{n}",
                "hospital": f"h{n}",
                "status": status,
                "at": now - timedelta(minutes=m),
            }
            for n, m in enumerate(minutes)
        ]
        await tx.insert(toy.database.raw("asks"), rows)


async def test_the_oldest_of_all_hospitals_and_how_many_wait(toy: Toy, waiting: Waiting) -> None:
    await _asked(toy, "open", 5, 60, 30)
    await _asked(toy, "done", 600)
    await waiting.look()
    assert counted("waiting_for_person", stage="doctor") == 3
    assert 3600 <= counted("waiting_oldest_age_seconds", stage="doctor") < 3660
    assert counted("waiting_for_person", stage="question") == 0
    assert counted("waiting_oldest_age_seconds", stage="question") == 0


def _shown(gauge: Gauge) -> list[Sample]:
    return [sample for family in gauge.collect() for sample in family.samples]


async def test_who_loses_the_lease_says_nothing_more(toy: Toy, waiting: Waiting) -> None:
    await _asked(toy, "open", 5)
    await waiting.look()
    assert _shown(metrics.WAITING)
    await waiting._lease.release()
    await waiting.look()
    for gauge in (metrics.WAITING, metrics.WAITING_OLDEST_AGE):
        assert _shown(gauge) == []


async def test_a_look_reads_what_waits_and_nothing_else(toy: Toy, waiting: Waiting) -> None:
    raw = toy.database.raw("asks")
    await _asked(toy, "done", *range(2_000))
    await _asked(toy, "open", *range(3))
    plan = await raw.find(OPEN).sort([("at", 1)]).limit(1).explain()
    assert "IXSCAN" in str(plan), plan
    assert plan["executionStats"]["totalKeysExamined"] <= 3, plan


@pytest.mark.parametrize("service", ["enrollment", "messaging", "reports", "prescriptions"])
async def test_whatever_waits_is_found_by_its_index(toy: Toy, service: str) -> None:
    spec = import_module(f"services.{service}.main").SPEC
    await migrate(toy.database, spec.collections)
    for wait in spec.waits:
        raw = toy.database.raw(wait.spec.model.COLLECTION)
        plan = await raw.find(wait.where).sort([(wait.since, 1)]).limit(1).explain()
        by = [index for index in wait.spec.indexes if index.partial is not None]
        (name,) = ["_".join(f"{field}_1" for field in index.fields) for index in by]
        assert f"'indexName': '{name}'" in str(plan), (wait.stage, plan)
