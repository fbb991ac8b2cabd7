"""What does an event of a hospital cost: CPU of each service, bytes in Kafka, bytes stored?

All six services as processes of their own over Kafka and the embedded database, without traces.
The hospital's events are mixed as docs/capacity.md assumes: for each visit a visit, a
prescription and an update of the patient, almost six reports, and now and then a discharge. Half
of the patients have a webhook, which answers at once. First at the pace of one hospital's busiest
hour times seven, then all at once, as after a fault or in a region: batches are small, then full.

``scripts/capacity.py`` reckons with these figures.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from bench.push import _patient, _report
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.child import Child
from libs.common.devstack.day import records
from libs.common.devstack.day.cast import Patient
from libs.common.devstack.day.plan import Outcome, Stay
from libs.common.devstack.places import ROOT, SERVICES, free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import Event
from libs.common.kafka.producer import PRODUCER
from tests.simulators.webhooks import WebhookReceiver

PATIENTS = 400
RATE, SECONDS = 20, 45
FLOOD = 4_000
REQUESTS = 400
KNOWN = {path.stem for path in (ROOT / "contracts" / "topics").glob("*.yaml")}
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Used:
    """Of all parts at a moment: seconds of CPU, bytes by topic and by collection."""

    cpu: Mapping[str, float]
    rss: Mapping[str, int]
    topics: Mapping[str, tuple[int, int]]  # records, bytes
    stored: Mapping[str, tuple[int, int]]  # documents, bytes


class Bench:
    def __init__(self, stack: Stack, webhook: int) -> None:
        self._stack, self._webhook = stack, webhook
        self._hospital = f"h{uuid.uuid4().hex[:8]}"
        self._sent = 0

    def _event(self, data: Event) -> CloudEvent:
        return CloudEvent(
            id=uuid.uuid4().hex,
            source="/bench/his",
            type=data.TYPE,
            subject=str(getattr(data, data.SUBJECT)),
            time=datetime.now(UTC),
            hospital=self._hospital,
            data=data,
            traceparent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00",
        )

    def day(self, count: int) -> Iterator[Event]:
        """``count`` events in the proportions of a hospital's day."""
        for n in range(self._sent, self._sent + count):
            now, patient = datetime.now(UTC), self._patient(n)
            match n % 100:
                case 7 | 17 | 27 | 37 | 47 | 57 | 67 | 77 | 87 | 97 | 50:
                    yield records.visit(patient, f"v{n}", now)
                case 8 | 18 | 28 | 38 | 48 | 58 | 68 | 78 | 88 | 98 | 51:
                    yield records.prescription(patient, now, prescription_id=f"rx{n}")
                case 9 | 19 | 29 | 39 | 49 | 59 | 69 | 79 | 89 | 99 | 52:
                    yield _patient(n % PATIENTS, self._webhook)
                case 0:
                    yield self._stay(n).discharged()
                case _:
                    yield _report(n, "capacity")
        self._sent += count

    def _patient(self, n: int) -> Patient:
        told = _patient(n % PATIENTS, self._webhook)
        return Patient(id=told.patient_id, name=told.name, birth_date=told.birth_date)

    def _stay(self, n: int) -> Stay:
        return Stay(
            encounter_id=f"e{n}",
            patient=self._patient(n),
            department="CARDIO",
            diagnosis=("I50.900", "心力衰竭"),
            procedure=None,
            programme="cardio",
            outcome=Outcome.INVITED,
            invited=(),
            discharged_at=datetime.now(UTC) - timedelta(hours=1),
        )

    async def run(self) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self._stack.bootstrap, **PRODUCER
        ) as producer:
            self._producer = producer
            self._reader = AIOKafkaConsumer(bootstrap_servers=self._stack.bootstrap)
            await self._reader.start()
            await self._send(self._event(_patient(n, self._webhook)) for n in range(PATIENTS))
            await self._quiet()
            before = await self._used()
            begin = time.perf_counter()
            for n, event in enumerate(list(self.day(RATE * SECONDS))):
                await asyncio.sleep(begin + n / RATE - time.perf_counter())
                await self._send([self._event(event)])
            await self._quiet()
            after = await self._used()
            self._say(f"{RATE} events a second", RATE * SECONDS, before, after)
            begin = time.perf_counter()
            await self._send(self._event(event) for event in self.day(FLOOD))
            await self._quiet()
            took = time.perf_counter() - begin - 5
            last = await self._used()
            self._say(f"{FLOOD} events at once, done in {took:.0f} s", FLOOD, after, last)
            await self._read()
            await self._reader.stop()

    async def _send(self, events: Iterator[CloudEvent] | list[CloudEvent]) -> None:
        for event in events:
            record = encode(event)
            await self._producer.send(
                event.data.TOPIC, record.value, key=record.key, headers=record.headers
            )
        await self._producer.flush()

    async def _quiet(self) -> None:
        """Until nothing was published for five seconds and nobody is behind."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 5:
            await asyncio.sleep(1)
            topics, behind = await self._topics(), await self._behind()
            now = sum(count for count, _ in topics.values())
            if now != last or behind:
                last, since = now, time.monotonic()

    async def _behind(self) -> float:
        waits = 0.0
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for name in SERVICES:
                page = (await client.get(self._stack.service_url(name) + "/metrics")).text
                waits += sum(
                    float(line.rpartition(" ")[2])
                    for line in page.splitlines()
                    if line.startswith(("consumer_lag{", "outbox_rows"))
                )
        return waits

    async def _used(self) -> Used:
        cpu, rss = self._processes()
        return Used(cpu, rss, await self._topics(), await asyncio.to_thread(self._stored))

    def _processes(self) -> tuple[dict[str, float], dict[str, int]]:
        """CPU and memory of the processes here; a broker that was given runs elsewhere."""
        cpu, rss = {}, {}
        for name, part in self._stack.parts.items():
            if isinstance(part, Child):
                fields = Path(f"/proc/{part.pid}/stat").read_text().rpartition(")")[2].split()
                cpu[name] = (int(fields[11]) + int(fields[12])) / TICK
                rss[name] = int(fields[21]) * PAGE
        return cpu, rss

    async def _topics(self) -> dict[str, tuple[int, int]]:
        """Records and bytes on disk of each topic of ours."""
        sizes: dict[str, int] = defaultdict(int)
        partitions: dict[str, list[TopicPartition]] = defaultdict(list)
        for log in (self._stack.folder / "kafka").rglob("*.log"):
            topic, _, partition = log.parent.name.rpartition("-")
            if topic in KNOWN:
                sizes[topic] += log.stat().st_size
                partitions[topic].append(TopicPartition(topic, int(partition)))
        counts = {}
        for topic, its in partitions.items():
            counts[topic] = sum((await self._reader.end_offsets(its)).values())
        return {topic: (counts[topic], size) for topic, size in sizes.items()}

    def _stored(self) -> dict[str, tuple[int, int]]:
        """Documents and their BSON, before the database compresses it and without indexes."""
        found = {}
        with MongoClient[RawBSONDocument](
            self._stack.mongo_url, document_class=RawBSONDocument
        ) as client:
            for name in SERVICES:
                database = client[f"lianxin_{name}"]
                for collection in database.list_collection_names():
                    sizes = [len(doc.raw) for doc in database[collection].find()]
                    found[f"{name}.{collection}"] = (len(sizes), sum(sizes))
        return found

    async def _read(self) -> None:
        """What a patient's app asks for when it is opened: the inbox, and the list of reports."""
        for service, path in (("notify", "/v1/inbox"), ("reports", "/v1/reports?patient_id=p1")):
            token = self._stack.issuer().token(
                person="p1", hospital=self._hospital, roles=("patient",)
            )
            limits = httpx.Limits(max_connections=16)
            async with httpx.AsyncClient(
                base_url=self._stack.service_url(service),
                headers={"Authorization": f"Bearer {token}"},
                limits=limits,
                timeout=60,
                trust_env=False,
            ) as client:
                (await client.get(path)).raise_for_status()
                before, _ = self._processes()
                await asyncio.gather(*(client.get(path) for _ in range(REQUESTS)))
                after, _ = self._processes()
            us = (after[service] - before[service]) * 1e6 / REQUESTS
            print(f"{path.partition('?')[0]}: {us:.0f} µs of {service}'s CPU for each request")

    def _say(self, what: str, events: int, before: Used, after: Used) -> None:
        print(f"\n{what}, load {os.getloadavg()[0]:.1f}")
        cpu = {n: (after.cpu[n] - before.cpu[n]) * 1e6 / events for n in after.cpu}
        print("CPU, µs for each: " + ", ".join(f"{n} {us:.0f}" for n, us in cpu.items()))
        print("RSS, MB: " + ", ".join(f"{n} {size / 1e6:.0f}" for n, size in after.rss.items()))
        for title, a, b in (
            ("Kafka", before.topics, after.topics),
            ("database", before.stored, after.stored),
        ):
            new = {
                k: (v[0] - a.get(k, (0, 0))[0], v[1] - a.get(k, (0, 0))[1]) for k, v in b.items()
            }
            rows = {k: v for k, v in sorted(new.items()) if v[0]}
            total = [sum(v[i] for v in rows.values()) / events for i in (0, 1)]
            inbox = sum(v[1] for k, v in rows.items() if k.endswith(".inbox")) / events
            print(f"{title}: {total[0]:.2f} records and {total[1]:.0f} bytes for each", end="")
            print(f", {inbox:.0f} of inboxes" if inbox else "")
            print("  " + ", ".join(f"{k} {v[0]}: {v[1] // max(1, v[0])}" for k, v in rows.items()))


async def measure(stack: Stack, rounds: int) -> None:
    receiver, webhook = WebhookReceiver(), free_ports(1)[0]
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", webhook)
    stack.environment |= {
        "WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"k" * 32).decode(),
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    await asyncio.to_thread(stack.start_services)
    for _ in range(rounds):
        await Bench(stack, webhook).run()
    server.close()
