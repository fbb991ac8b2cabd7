"""Do two replicas decide as one would, on a real database?"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.devstack.stack import Stack
from libs.common.engine import Engine
from libs.common.fates import Fate
from libs.common.kafka.producer import Producer
from libs.common.lease import Lease
from libs.common.migrate import migrate
from libs.common.mongo.database import Database
from libs.common.relay import Relay
from libs.common.telemetry import Tracer
from services.enrollment.domain.staff import TaskStatus
from services.enrollment.handlers import HANDLERS
from services.enrollment.store import COLLECTIONS, GROUPS, INVITATIONS, STAFF_TASKS
from tests.support.rules import Case
from tests.unit.enrollment.given import (
    KIDNEY,
    NOW,
    STROKE,
    child_discharged,
    discharged,
    linked,
    policy,
)

LIMIT = 7


def _replica(database: Database, bootstrap: str) -> Engine:
    ports = Ports()
    tracer = Tracer("enrollment", 0.0, None)
    relay = Relay(
        database=database,
        lease=Lease(database, "owner", ports),
        new_producer=lambda: Producer(bootstrap),
        ports=ports,
        tracer=tracer,
    )
    return Engine(
        service="enrollment",
        database=database,
        collections=COLLECTIONS,
        handlers=HANDLERS,
        policy=policy(STROKE, KIDNEY, group_limit=LIMIT, backfill_after=timedelta(days=36_500)),
        relay=relay,
        ports=ports,
        tracer=tracer,
    )


async def _run(engine: Engine, chunks: list[list[Input]]) -> list[Fate]:
    return [o.fate for chunk in chunks for o in await engine.run(chunk)]


@pytest.fixture
def name() -> str:
    return "enrollment_seats_" + uuid.uuid4().hex[:8]


@pytest.fixture
async def database(stack: Stack, name: str) -> AsyncIterator[Database]:
    made = stack.database(name)
    await migrate(made, COLLECTIONS)
    yield made
    await made.drop()
    await made.close()


async def test_two_replicas_never_exceed_a_group_and_invite_each_person_once(
    stack: Stack, database: Database, name: str
) -> None:
    case = Case(HANDLERS, now=NOW)
    inputs = [case.event_input(discharged(f"p{n}"), id=f"d{n}") for n in range(60)]
    second = stack.database(name)
    chunks = [inputs[i : i + 6] for i in range(0, 60, 6)]
    fates = await asyncio.gather(
        _run(_replica(database, stack.bootstrap), chunks),
        _run(_replica(second, stack.bootstrap), chunks[5:] + chunks[:5]),
    )
    await second.close()

    assert Counter(f for one in fates for f in one) == {Fate.DONE: 60, Fate.DUPLICATE: 60}
    groups = await database.collection(GROUPS).find("h1", limit=100)
    assert all(g.reserved <= LIMIT for g in groups)
    assert sorted(g.number for g in groups) == list(range(1, 10))  # 60 people by seven
    invitations = await database.collection(INVITATIONS).find("h1", limit=200)
    assert Counter(i.person_id for i in invitations) == {f"p{n}": 1 for n in range(60)}
    by_group = Counter(i.group_id for i in invitations)
    assert {g.id: g.reserved for g in groups} == by_group


async def test_a_guardian_linked_in_the_very_moment_of_the_discharge_is_never_missed(
    stack: Stack, database: Database, name: str
) -> None:
    case = Case(HANDLERS, now=NOW)
    kids = [f"k{n}" for n in range(40)]
    left = [[case.event_input(child_discharged(k, guardians=[]), id=f"d-{k}")] for k in kids]
    links = [[case.event_input(linked(f"m-{k}", k), id=f"l-{k}")] for k in kids]
    second = stack.database(name)
    await asyncio.gather(
        _run(_replica(database, stack.bootstrap), left),
        _run(_replica(second, stack.bootstrap), links),
    )
    await second.close()
    invitations = await database.collection(INVITATIONS).find("h1", limit=200)
    assert sorted(i.person_id for i in invitations) == sorted(f"m-{k}" for k in kids)
    tasks = await database.collection(STAFF_TASKS).find("h1", limit=200)
    assert {t.status for t in tasks} <= {TaskStatus.DONE}
