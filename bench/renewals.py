"""How many renewals can be decided on a second, from the asking to both signatures?

So many people side by side, each on a connection of their own: a patient asks, a doctor
approves, a pharmacist passes, and the next patient asks; three commands for a renewal, signed
with keys of development. The floor is a service whose one command changes one document and
tells one event (bench/http_commands.py), asked by as many. Each renewal must be on the topic
in the end.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from bench import http_commands
from bench.connection import Connection
from bench.http_commands import CONNECTIONS, SECONDS, WARM
from bench.latency import quantile
from bench.rounds import spread
from libs.common.auth import Role
from libs.common.decision import Document
from libs.common.devstack.day.records import WELL
from libs.common.devstack.stack import Stack
from libs.common.events import RefillEffective
from libs.common.kafka.reading import read_all
from libs.common.mongo.database import Database
from libs.common.mongo.documents import row_of
from services.prescriptions.domain.documents import Order, PatientCare, Prescription, Visit
from tests.unit.prescriptions.given import prescription

DATABASE = "lianxin_prescriptions"
#: More than are asked for in a run; each has one medicine to renew.
PATIENTS = 6_000
STEPS = ("request", "approve", "pass")


def known(hospital: str, patients: int) -> Iterator[Document]:
    """Adults who were prescribed a medicine, and seen, a month ago."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    told = prescription(at=at)
    order = Order.model_validate(told.model_dump())
    visit = Visit(department_code=order.department.code, visit_id="v", occurred_at=at)
    for n in range(patients):
        yield PatientCare(
            id=f"p{n}",
            hospital=hospital,
            version=1,
            birth_date=date(1960, 1, 1),
            name="样例",
            gender="female",
            recorded_at=at,
            recorded_as=f"p{n}",
            visits=(visit,),
        )
        yield Prescription(
            id=f"rx{n}",
            hospital=hospital,
            version=1,
            patient_id=f"p{n}",
            order=order,
            issued_at=at,
        )


async def store(database: Database, documents: Iterator[Document]) -> None:
    by_collection: dict[str, list[dict[str, object]]] = defaultdict(list)
    for document in documents:
        rows = by_collection[document.COLLECTION]
        rows.append(row_of(document))
        if len(rows) == 1_000:
            await database.raw(document.COLLECTION).insert_many(rows, ordered=False)
            rows.clear()
    for name, rows in by_collection.items():
        if rows:
            await database.raw(name).insert_many(rows, ordered=False)


async def rate(stack: Stack, port: int, hospital: str) -> tuple[float, dict[str, list[float]]]:
    """Renewals a second after the warm-up, and how many ms each step waited for its answer."""
    issuer = stack.issuer()

    def token(person: str, role: Role, *departments: str) -> str:
        signed = issuer.token(
            person=person, hospital=hospital, roles=[role], departments=departments
        )
        return f"Bearer {signed}"

    patients = iter([(n, token(f"p{n}", Role.PATIENT)) for n in range(PATIENTS)])
    begin = time.perf_counter() + WARM
    took: dict[str, list[float]] = {step: [] for step in STEPS}
    done = 0

    async def lane(name: str) -> None:
        nonlocal done
        connection = await Connection.to(port)
        doctor = token(f"dr{name}", Role.DOCTOR, "cardiology")
        pharmacist = token(f"ph{name}", Role.PHARMACIST, "pharmacy")
        while (at := time.perf_counter()) < begin + SECONDS:
            n, patient = next(patients)
            asked = {"prescription_id": f"rx{n}", "patient_id": f"p{n}", "declaration": WELL}
            steps = (
                ("", patient, asked),
                ("/doctor-decision", doctor, {"decision": "approve", "valid_days": 3}),
                ("/pharmacist-review", pharmacist, {"decision": "pass"}),
            )
            path, headers = "/v1/refills", {"Idempotency_Key": uuid.uuid4().hex}
            for step, (ending, who, body) in zip(STEPS, steps, strict=True):
                refill = await connection.call("POST", path + ending, who, body, **headers)
                path = f"/v1/refills/{refill['id']}"
                headers = {"If_Match": f'"{refill["version"]}"'}
                if at >= begin:
                    took[step].append(connection.took)
            done += 1
        connection.close()

    await asyncio.gather(*(lane(str(n)) for n in range(CONNECTIONS)))
    async with asyncio.timeout(30):
        await _published(stack, hospital, done)
    return len(took["pass"]) / SECONDS, took


async def _published(stack: Stack, hospital: str, count: int) -> None:
    """Until all renewals that were answered are on the topic."""
    found: set[bytes] = set()
    async for record in read_all(stack.bootstrap, [RefillEffective.TOPIC]):
        headers = dict(record.headers)
        mine = headers.get("ce_hospital") == hospital.encode()
        if mine and headers.get("ce_type") == RefillEffective.TYPE.encode():
            found.add(headers["ce_id"] or b"")
            if len(found) == count:
                return


async def compare(stack: Stack, rounds: int) -> None:
    await asyncio.to_thread(stack.migrate, "prescriptions")
    child = await asyncio.to_thread(stack.start_service, "prescriptions")
    database = Database(stack.mongo_url, DATABASE)
    rates: list[float] = []
    ratios: list[float] = []
    tails: dict[str, list[float]] = {step: [] for step in STEPS}
    for n in range(rounds):
        hospital = f"bench-{n}"
        await store(database, known(hospital, PATIENTS))
        floor, _ = await http_commands.rate(stack, "group", SECONDS)
        renewals, took = await rate(stack, int(child.program.env["HTTP_PORT"]), hospital)
        rates.append(renewals)
        ratios.append(len(STEPS) * renewals / floor)
        for step, values in took.items():
            tails[step].append(quantile(values, 0.99))
        said = ", ".join(f"{step} p99 {tails[step][-1]:.0f} ms" for step in STEPS)
        print(
            f"round {n + 1}, load {os.getloadavg()[0]:.1f}: "
            f"floor {floor:.0f} commands/s; {renewals:.0f} renewals/s, {said}",
            flush=True,
        )
    await database.close()
    await asyncio.to_thread(stack.remove, child.name)
    print(f"\n| {CONNECTIONS} people side by side | median (min-max) |\n|---|---|")
    print(f"| renewals a second, each of three decisions | {spread(rates, 0)} |")
    print(f"| decisions a second / commands a second of the floor | {spread(ratios, 2)} x |")
    for step, values in tails.items():
        print(f"| p99 of the answer to {step}, ms | {spread(values, 0)} |")
