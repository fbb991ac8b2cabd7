"""How long from a report's publication until its push is on record?

The real services ``reports`` and ``notify`` as processes of their own: an event
``hospital.report.ready.v1`` on its topic, through both, until notify's event tells that a
channel took the notification. That event comes after the record, so the figure is a
little more than what is asked. Half of the patients have the inbox alone, half a webhook.
"""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.latency import quantile
from libs.common.cloudevents import CloudEvent, Undecodable, UnknownType, decode, encode
from libs.common.devstack.places import free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import (
    Event,
    NotificationSent,
    PatientRegistered,
    ReportKind,
    ReportReady,
    ReportStatus,
)
from libs.common.kafka.producer import PRODUCER
from tests.simulators.webhooks import WebhookReceiver

RATE = 20
SECONDS = 20
WARM = 3 * RATE
PATIENTS = 100
#: p99 in milliseconds.
AIM = 250
SERVICES = ("reports", "notify")
HOSPITAL = f"h{uuid.uuid4().hex[:8]}"


def _event(data: Event, id: str) -> CloudEvent:
    return CloudEvent(
        id=id,
        source="/bench/his",
        type=data.TYPE,
        subject=str(getattr(data, data.SUBJECT)),
        time=datetime.now(UTC),
        hospital=HOSPITAL,
        data=data,
        traceparent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00",
    )


def _patient(n: int, webhook: int) -> PatientRegistered:
    return PatientRegistered(
        patient_id=f"p{n}",
        name=f"甲{n}",
        birth_date=date(1960, 1, 1),
        updated_at=datetime.now(UTC) - timedelta(days=1),
        webhook=f"http://127.0.0.1:{webhook}/p{n}" if n % 2 else None,
    )


def _report(n: int, name: str) -> ReportReady:
    return ReportReady(
        report_id=f"r{name}-{n}",
        patient_id=f"p{n % PATIENTS}",
        kind=ReportKind.LABORATORY,
        code="2345-7",
        title="空腹血糖",
        status=ReportStatus.FINAL,
        issued_at=datetime.now(UTC),
        conclusion="正常。",
    )


class Bench:
    def __init__(self, bootstrap: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **PRODUCER)
        self._reader = AIOKafkaConsumer(
            "notify.events", bootstrap_servers=bootstrap, auto_offset_reset="latest"
        )
        self._published: dict[str, float] = {}
        self.took: Mapping[str, list[float]] = defaultdict(list)
        self._types: dict[str, type[Event]] = {NotificationSent.TYPE: NotificationSent}

    async def run(self, events: int, webhook: int, name: str) -> None:
        """``name`` makes ids that no other round has."""
        await self._producer.start()
        await self._reader.start()
        for n in range(PATIENTS):
            await self._publish(_event(_patient(n, webhook), f"patient-{name}-{n}"))
        await asyncio.sleep(5)
        reading = asyncio.create_task(self._read(events))
        begin = time.perf_counter()
        for n in range(events):
            await asyncio.sleep(begin + n / RATE - time.perf_counter())
            await self._publish(_event(_report(n, name), f"report-{name}-{n}"))
        async with asyncio.timeout(60):
            await reading
        await self._producer.stop()
        await self._reader.stop()

    async def _publish(self, event: CloudEvent) -> None:
        record = encode(event)
        self._published[event.id] = time.perf_counter()
        await self._producer.send(
            event.data.TOPIC, record.value, key=record.key, headers=record.headers
        )

    async def _read(self, events: int) -> None:
        told: set[str] = set()
        while len(told) < events:
            for records in (await self._reader.getmany(timeout_ms=500)).values():
                now = time.perf_counter()
                for record in records:
                    try:
                        event = decode(record.headers, record.value, self._types)
                    except (UnknownType, Undecodable):
                        continue
                    began = self._published.get(event.correlationid)
                    if began is None or not isinstance(event.data, NotificationSent):
                        continue
                    n = int(event.correlationid.rpartition("-")[2])
                    channel = str(event.data.channel)
                    if channel == ("webhook" if n % 2 else "inbox"):
                        told.add(event.correlationid)
                    if n >= WARM:
                        self.took[channel].append((now - began) * 1e3)


async def measure(stack: Stack, rounds: int, seconds: int = SECONDS) -> None:
    receiver, webhook = WebhookReceiver(), free_ports(1)[0]
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", webhook)
    stack.environment |= {
        "WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"k" * 32).decode(),
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    await asyncio.to_thread(stack.start_services, *SERVICES)
    found: dict[tuple[str, float], list[float]] = defaultdict(list)
    for n in range(rounds):
        bench = Bench(stack.bootstrap)
        await bench.run(RATE * seconds, webhook, f"round{n}")
        said = []
        for channel, took in sorted(bench.took.items()):
            for q in (0.5, 0.99):
                found[channel, q].append(quantile(took, q))
            p50, p99 = quantile(took, 0.5), quantile(took, 0.99)
            said.append(f"{channel} p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(took)}")
        print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: " + "; ".join(said), flush=True)
    print(f"\n| publish to recorded push at {RATE}/s | median (min-max) | aim | |")
    print("|---|---|---|---|")
    for (channel, q), values in found.items():
        median = statistics.median(values)
        word = "" if q < 0.99 else "met" if median <= AIM else "MISSED"
        aim = f"{AIM} ms" if word else ""
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"| {channel} p{q * 100:.0f} | {median:.0f} ms ({spread}) | {aim} | {word} |")
    server.close()
