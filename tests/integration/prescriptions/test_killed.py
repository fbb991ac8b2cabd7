"""Does the limit hold while one of two replicas is killed in the middle of it?

Whoever hears nothing asks the other one again, with the same key.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from libs.common.devstack.stack import Stack
from libs.common.events import RefillEffective
from scripts import history_check
from services.prescriptions.domain.transitions import STAGE
from services.prescriptions.main import load_policy
from services.prescriptions.settings import Settings
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.integration.prescriptions.processes import PATIENCE, Processes, started
from tests.support import topics
from tests.support.toy import eventually, looking
from tests.unit.prescriptions.given import prescription

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

LIMIT, AT_ONCE = 3, 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(stack: Stack) -> AsyncIterator[Processes]:
    async with started(stack, "test-prescriptions-killed", 5, 6) as two:
        yield two


class Limits:
    """Looks at the database all the time: one open request, three renewals, at any moment."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.looks = 0
        self.busy = 0

    async def look(self) -> None:
        service, id = self.hospital.service, self.hospital.id
        for account in await service.rows("renewal_accounts", id):
            assert len(account["open"]) <= 1, account["open"]
            assert len(account["renewals"]) <= LIMIT
            self.busy += len(account["open"])
        refills = await service.rows("refills", id)
        assert sum(r["status"] in STAGE for r in refills) <= 1
        assert sum(r["effective_at"] is not None for r in refills) <= LIMIT
        self.looks += 1

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with looking(self.look):
            yield
        await self.look()


async def together(*asked: Any, kill: Any = None) -> list[httpx.Response]:
    """All of them at once, and meanwhile a replica is killed."""
    answers = [asyncio.ensure_future(a) for a in asked]
    if kill is not None:
        await kill
    return list(await asyncio.gather(*answers))


async def standing(hospital: Hospital, id: str) -> dict[str, Any]:
    return dict((await hospital.patient().get(f"/v1/refills/{id}")).json())


async def comes_back(hospital: Hospital, refill: dict[str, Any], based_on: str) -> str:
    """The hospital's system tells the renewal's own prescription, twice."""
    own = str(refill["new_prescription_id"])
    at = hospital.service.clock.now()
    told = prescription(own, at=at, based_on=based_on, refill_id=refill["id"])
    await hospital.tell(told, told)

    async def known() -> bool:
        rows = await hospital.service.rows("prescriptions", hospital.id)
        return own in {r["id"] for r in rows}

    await eventually(known, PATIENCE)
    return own


async def test_64_requests_at_once_while_a_replica_is_killed(processes: Processes) -> None:
    hospital = Hospital(processes, "h-killed")
    moments = random.Random(64)  # when within the work; the same in every run
    limits = Limits(hospital)
    await hospital.prescribe()
    known, victims = ["rx1"], itertools.cycle(processes.names)

    def kill(within: float) -> Awaitable[None]:
        return processes.kill(next(victims), moments.uniform(0.0, within))

    async with limits.watched():
        for number in range(1, LIMIT + 2):
            callers = [hospital.patient(replica=n) for n in (0, 1)]
            asking = (ask(callers[n % 2], known[n // 2 % len(known)]) for n in range(AT_ONCE))
            answers = await together(*asking, kill=kill(0.3) if number <= LIMIT else None)
            reasons = {a.json()["reason"] for a in answers if a.status_code == 422}
            assert {a.status_code for a in answers} <= {201, 422}
            if number > LIMIT:
                assert reasons == {"renewal_limit_reached"}
                break
            assert reasons == {"open_request"}
            [asked] = {a.json()["id"] for a in answers if a.status_code == 201}

            refill = await standing(hospital, asked)
            assert (refill["status"], refill["number"]) == ("waiting_doctor", number)
            doctors = [hospital.doctor(f"dr{n}", replica=n % 2) for n in range(8)]
            deciding = (decide(d, refill, "approve") for d in doctors)
            codes = [a.status_code for a in await together(*deciding)]
            assert sorted(codes) == [200, *[412] * 7]

            refill = await standing(hospital, asked)
            assert refill["status"] == "waiting_pharmacist"
            pharmacists = [hospital.pharmacist(f"ph{n}", replica=n % 2) for n in range(8)]
            passing = (review(p, refill, "pass") for p in pharmacists)
            answers = await together(*passing, kill=kill(0.15) if number == 2 else None)
            # One whose answer was lost with the replica hears that it has changed.
            codes = [a.status_code for a in answers]
            assert codes.count(200) <= 1 and set(codes) <= {200, 409, 412}

            refill = await standing(hospital, asked)
            assert (refill["status"], refill["remaining"]) == ("effective", LIMIT - number)
            known.append(await comes_back(hospital, refill, based_on=known[-1]))
    assert limits.looks > 50 and limits.busy > 0

    found, _ = await history_check.check(
        processes.database, hospital.id, load_policy(Settings()), processes.clock.now()
    )
    assert found == []
    told = await processes.published(
        hospital.id,
        ["prescriptions.events"],
        lambda so_far: sum(isinstance(e.data, RefillEffective) for e in so_far) == LIMIT,
    )
    numbers = [e.data.number for e in told if isinstance(e.data, RefillEffective)]
    assert sorted(numbers) == [1, 2, 3]
    assert topics.out_of_order(told) == []
