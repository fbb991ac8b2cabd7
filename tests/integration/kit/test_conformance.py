"""Does `make conformance` find on a real topic what is wrong there, and leave no trace?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from libs.common.devstack.stack import Stack
from libs.common.undecodable import Reason
from scripts.conformance import judge, main
from scripts.contracts import CONTRACTS
from scripts.findings import Finding
from scripts.published import read
from tests.support.planted import ADVISABLE, NAME, TOPIC, WRONG, Sent, sent


class Latin(str):
    """Has its own idea of what its bytes are."""

    def encode(self, *_: Any) -> bytes:
        return super().encode("latin-1")


async def publish(stack: Stack, records: Sequence[Sent]) -> tuple[datetime, list[tuple[int, int]]]:
    """Since when and where they stand; those of one partition in one batch."""
    begun = datetime.now(UTC)
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap)
    await producer.start()
    batches: dict[int, Any] = {}
    places = []
    for r in records:
        if r.partition not in batches:
            batches[r.partition] = producer.create_batch()
            # The builder in C encodes headers by itself.
            builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 2**20)
            batches[r.partition]._builder = builder
        batch = batches[r.partition]
        places.append((r.partition, batch.record_count()))
        batch.append(timestamp=None, key=r.key, value=r.value, headers=r.headers)
    first = {
        partition: (await (await producer.send_batch(batch, TOPIC, partition=partition))).offset
        for partition, batch in batches.items()
    }
    await producer.stop()
    return begun, [(partition, first[partition] + n) for partition, n in places]


async def judged(stack: Stack, begun: datetime) -> tuple[int, list[Finding]]:
    return await judge(stack.bootstrap, read(CONTRACTS).topics[TOPIC], begun, 100)


@pytest.mark.parametrize("code", [*WRONG, *ADVISABLE])
async def test_what_is_planted_is_found_at_its_offset(stack: Stack, code: str) -> None:
    records = (WRONG.get(code) or ADVISABLE[code])()
    begun, places = await publish(stack, records)
    count, found = await judged(stack, begun)
    assert count == len(records)
    assert [(f.code, (f.partition, f.offset)) for f in found] == [(code, places[-1])]


async def test_what_the_library_can_t_read_is_named_and_what_stands_around_it_is_judged(
    stack: Stack,
) -> None:
    """The library reads no further in a batch, and so do the services."""
    unreadable = sent("d-2")
    unreadable.headers = [*unreadable.headers, (Latin("ce_größe"), b"1")]
    begun, places = await publish(
        stack, [sent("d-1", time=None), unreadable, sent("d-3", sequence="2")]
    )
    _, more = await publish(stack, [sent("d-4", sequence="3"), sent("d-5", subject="e-2", id=None)])
    count, found = await judged(stack, begun)
    assert count == 5
    assert [(f.code, (f.partition, f.offset)) for f in found] == [
        (Reason.MISSING_ATTRIBUTE, places[0]),
        (Reason.UNREADABLE, places[1]),
        (Reason.UNREADABLE, places[2]),
        (Reason.MISSING_ATTRIBUTE, more[1]),
    ]


async def test_nobody_else_notices_that_a_topic_was_judged(stack: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
    await admin.start()
    before = await admin.list_consumer_groups()
    begun, _ = await publish(stack, [sent()])
    await judged(stack, begun)
    assert await admin.list_consumer_groups() == before
    await admin.close()


async def test_the_command_says_what_is_wrong_and_how_it_ends(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*arguments: str) -> int:
        return await asyncio.to_thread(main, [*arguments, "--bootstrap", stack.bootstrap])

    begun, _ = await publish(stack, [sent()])
    assert await run(TOPIC, "--from", begun.isoformat()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "conformance: hospital.encounters: 1 records, 0 of them wrong"
    ]
    _, ((partition, offset),) = await publish(stack, WRONG[Reason.SCHEMA_VIOLATION]())
    assert await run(TOPIC, "--from", begun.isoformat()) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{partition}:{offset} schema_violation: patient.birth_date: ")
    assert NAME not in first
    assert last == "conformance: hospital.encounters: 2 records, 1 of them wrong"
    assert await run(TOPIC, "--from", begun.isoformat(), "--limit", "1") == 0
    assert capsys.readouterr().out.endswith("stopped at the limit of 1\n")
    assert await run(TOPIC, "--from", datetime.now(UTC).isoformat()) == 2
    assert "Nothing stands on hospital.encounters" in capsys.readouterr().err
    assert await run("hospital.rooms") == 2
    assert "TOPIC is one of enrollment.events" in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([TOPIC, "--bootstrap", "127.0.0.1:9"]) == 2
    assert "127.0.0.1:9 can't be read" in capsys.readouterr().err
