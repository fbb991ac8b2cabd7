"""Does a work list stay as quick when a hundred times as many renewals are stored?

Two services with databases of their own, one with ``FEW`` renewals and one with ``MANY``. In
both the first ``FEW`` wait, half of them for doctors of twenty departments and half for
pharmacists; the others are over, as most are in a hospital, where what nobody decides on
expires within three days. Readers ask both in turn for the same: a page at the beginning of a
list, and one from its middle.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from bench.connection import Connection
from bench.latency import quantile
from bench.renewals import store
from bench.rounds import spread
from libs.common.auth import Role
from libs.common.devstack.child import Child
from libs.common.devstack.stack import Stack
from libs.common.events import Department
from libs.common.http.paging import cursor_of
from libs.common.mongo.database import Database
from services.prescriptions.domain.documents import Refill
from tests.unit.prescriptions import given

FEW, MANY = 1_000, 100_000
HOSPITAL = "bench"
DEPARTMENTS = [f"d{n}" for n in range(20)]
LIMIT = 10
#: Requests that are timed, of each list and round; the first ones of all are not.
TIMED, WARM = 400, 50
READERS = 4
#: Name -> role, path, and after which part of what waits.
LISTS = {
    "doctor, first page": (Role.DOCTOR, "doctor", 0.0),
    "doctor, from the middle": (Role.DOCTOR, "doctor", 0.5),
    "pharmacist, first page": (Role.PHARMACIST, "pharmacist", 0.0),
    "pharmacist, from the middle": (Role.PHARMACIST, "pharmacist", 0.5),
}
BEGIN = given.NOW


def renewals(count: int) -> Iterator[Refill]:
    """As the rules leave them, each of another patient and a second later."""
    hospital = given.hospital()
    templates: list[Refill] = []
    for decisions in ((), ("approve",), ("decline",)):
        id = hospital.asked()
        for decision in decisions:
            hospital.doctor(id, decision)
        templates.append(hospital.refill(id))
        hospital = given.hospital()
    for n in range(count):
        template = templates[n % 2 if n < FEW else 2]
        code = DEPARTMENTS[n // 2 % len(DEPARTMENTS)]
        order = template.order.model_copy(update={"department": Department(code=code)})
        at = BEGIN + timedelta(seconds=n)
        yield template.but(
            id=f"refill-{n:06}",
            hospital=HOSPITAL,
            patient_id=f"p{n}",
            department_code=code,
            order=order,
            waiting_since=at if template.stage is not None else None,
            requested_at=at,
        )


async def timed(stack: Stack, port: int, name: str, times: int) -> list[float]:
    role, path, begins = LISTS[name]
    issuer = stack.issuer()
    url = f"/v1/work-lists/{path}?limit={LIMIT}"
    if begins:
        n = int(FEW * begins)
        url += f"&cursor={cursor_of((BEGIN + timedelta(seconds=n), f'refill-{n:06}'))}"
    took: list[float] = []

    async def reader(number: int) -> None:
        signed = issuer.token(
            person=f"r{number}",
            hospital=HOSPITAL,
            roles=[role],
            departments=[DEPARTMENTS[number], DEPARTMENTS[-number - 1]],
        )
        connection = await Connection.to(port)
        for _ in range(times // READERS):
            page = await connection.call("GET", url, f"Bearer {signed}")
            assert len(page["items"]) == LIMIT and page["next"], page
            took.append(connection.took)
        connection.close()

    await asyncio.gather(*(reader(n) for n in range(READERS)))
    return took


async def _serving(stack: Stack, replica: int, stored: int) -> Child:
    environment = {"MONGO_DATABASE": f"bench_{stored}"}
    await asyncio.to_thread(stack.migrate, "prescriptions", environment=environment)
    database = Database(stack.mongo_url, environment["MONGO_DATABASE"])
    await store(database, renewals(stored))
    await database.close()
    return await asyncio.to_thread(
        stack.start_service, "prescriptions", replica=replica, environment=environment
    )


async def compare(stack: Stack, rounds: int) -> None:
    children = {
        stored: await _serving(stack, replica, stored)
        for replica, stored in enumerate((FEW, MANY), 1)
    }
    ports = {stored: int(child.program.env["HTTP_PORT"]) for stored, child in children.items()}
    tails: dict[tuple[str, int], list[float]] = defaultdict(list)
    middles: dict[tuple[str, int], list[float]] = defaultdict(list)
    for n in range(rounds):
        for name in LISTS:
            for stored in (FEW, MANY) if n % 2 else (MANY, FEW):
                if n == 0:
                    await timed(stack, ports[stored], name, WARM)
                took = await timed(stack, ports[stored], name, TIMED)
                tails[name, stored].append(quantile(took, 0.99))
                middles[name, stored].append(quantile(took, 0.5))
        said = "; ".join(
            f"{name} " + " / ".join(f"{tails[name, stored][-1]:.0f}" for stored in (MANY, FEW))
            for name in LISTS
        )
        print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}, p99 in ms: {said}", flush=True)
    for child in children.values():
        await asyncio.to_thread(stack.remove, child.name)
    print(f"\n| {LIMIT} lines, {READERS} readers | p50, ms | p99, ms | p99 / with {FEW:,} |")
    print("|---|---|---|---|")
    for name in LISTS:
        pairs = zip(tails[name, MANY], tails[name, FEW], strict=True)
        ratios = [many / few for many, few in pairs]
        print(
            f"| {name} | {spread(middles[name, MANY], 0)} | {spread(tails[name, MANY], 0)} "
            f"| {spread(ratios, 2)} x |"
        )
