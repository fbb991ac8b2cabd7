"""Does every record end in exactly one fate, and does no record harm its neighbours?"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from libs.common import consumer
from libs.common.cloudevents import Record, Undecodable, decode
from libs.common.kafka.producer import cached_partition
from libs.common.kafka.reading import read_all
from libs.common.kafka.record import Unreadable
from libs.common.metrics import EVENTS_LATE
from tests.support.toy import Broken, Toy, eventually, in_order


async def test_a_thousand_events_each_sent_twice_count_once_and_come_out_in_order(
    toy: Toy,
) -> None:
    sent = [toy.event(f"p{i % 20}", i // 20 + 1) for i in range(1000)]
    await toy.publish(sent)
    await toy.publish(sent)
    async with toy.replica().running():
        events = await toy.published(lambda found: len(found) >= 1000)

        async def drained() -> bool:
            return len(await toy.rows("inbox")) == 1000 and not await toy.rows("outbox")

        await eventually(drained)
    assert set((await toy.tallies()).values()) == {50}
    assert in_order(events)
    assert len({(e.source, e.id) for e in events}) == 1000


async def test_what_can_never_work_goes_to_the_dead_letters_and_neighbours_are_served(
    toy: Toy,
) -> None:
    good = toy.event("good", 1)

    def spoiled(**changes: bytes) -> Record:
        record = toy.event("x", 1)
        headers = {**dict(record.headers), **{k: v for k, v in changes.items() if k != "value"}}
        return Record(record.key, changes.get("value", record.value), list(headers.items()))

    await toy.publish(
        [
            good,
            spoiled(value=b"\xff\xfe not json"),
            spoiled(value=b'{"name": "x", "n": "many"}'),
            spoiled(ce_type=b"test.ticked.v9"),
            spoiled(ce_type=b"somebody.elses.v1"),
            spoiled(value=b"x" * 2_000_000),
            toy.event("x", 7, then="crash"),
            toy.event("big", 1, then="huge"),
            toy.event("much", 1, then="overflow"),
            toy.event("late", 1, time=datetime.now(UTC) + timedelta(hours=1)),
            toy.event("old", 1, time=datetime(1850, 1, 1, tzinfo=UTC)),
            toy.event("no", 1, then="refuse"),
            toy.event("good", 2),
        ]
    )
    async with toy.replica().running():
        letters = await toy.letters(8)

        async def served() -> bool:
            return await toy.tallies() == {"good": 2, "old": 1}

        await eventually(served)
    assert sorted(x["dlq_reason"] for x in letters) == [
        "not_json",
        "rule_failed",
        "schema_violation",
        "time_ahead",
        "too_large",
        "unknown_major_version",
        "unstorable",
        "unstorable",
    ]
    assert all(x["dlq_topic"] == toy.topic_in and x["dlq_consumer"] == toy.name for x in letters)
    assert not any("many" in str(x) for x in letters), "a dead letter's headers quote no value"
    fates = {r["_id"].rsplit("|", 1)[1]: r["fate"] for r in await toy.rows("inbox")}
    assert fates["no-1"] == "refused"
    assert fates["x-7"] == "rejected"


async def test_what_lay_in_kafka_for_more_than_a_minute_is_counted_as_late(toy: Toy) -> None:
    before = EVENTS_LATE._value.get()
    async with AIOKafkaProducer(bootstrap_servers=toy.bootstrap) as producer:
        for n, age in enumerate((0, 50, 70, 3600)):
            record = toy.event("a", n + 1)
            await producer.send_and_wait(
                toy.topic_in,
                record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=int((time.time() - age) * 1000),
            )
    async with toy.replica().running():
        await toy.published(lambda found: len(found) >= 4)
    assert EVENTS_LATE._value.get() - before == 2


async def test_a_record_that_the_client_library_cannot_read_is_named_and_passed_by(
    toy: Toy,
) -> None:
    """Kafka takes any bytes as a header's name; only who reads it wants UTF-8."""
    await publish_with_a_latin_header(toy, [("a", 1), ("a", None), ("b", 1), ("a", 2)])
    async with toy.replica().running():
        (letter,) = await toy.letters(1)

        async def served() -> bool:
            return await toy.tallies() == {"a": 2, "b": 1}

        await eventually(served)
    assert letter["dlq_reason"] == "unreadable"
    assert letter["dlq_topic"] == toy.topic_in
    # A replica that comes later begins behind it.
    await toy.publish([toy.event("a", 3)])
    async with toy.replica().running():

        async def counted() -> bool:
            return await toy.tallies() == {"a": 3, "b": 1}

        await eventually(counted)


async def test_who_reads_all_reads_on_behind_what_the_client_library_cannot_read(
    toy: Toy,
) -> None:
    """Such as the demo's page, which would stand still at it for ever."""
    ticks = [("a", 1), ("a", None), ("b", 1), ("a", 2)]
    await publish_with_a_latin_header(toy, ticks)
    found = []
    async with asyncio.timeout(30), aclosing(read_all(toy.bootstrap, [toy.topic_in])) as records:  # type: ignore[type-var]
        async for record in records:
            found.append(record)
            if len(found) == len(ticks):
                break
    assert [record.value for record in found].count(None) == 1
    (unreadable,) = [record for record in found if isinstance(record, Unreadable)]
    assert unreadable.offset == 1
    with pytest.raises(Undecodable):  # who reads it passes it by as any other garbage
        decode(unreadable.headers, unreadable.value)
    assert {(r.partition, r.offset) for r in found} == {
        (cached_partition(toy.event(name, 1).key, 3), at)
        for name, at in (("a", 0), ("a", 1), ("a", 2), ("b", 0))
    }


class Latin(str):
    """Has its own idea of what its bytes are."""

    def encode(self, *_: Any) -> bytes:
        return super().encode("latin-1")


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_publishers_may_compress_as_kafka_lets_them(toy: Toy, codec: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=toy.bootstrap, compression_type=codec)
    await producer.start()
    for n in range(20):
        record = toy.event("a", n)
        await producer.send(toy.topic_in, record.value, key=record.key, headers=record.headers)
    await producer.stop()
    async with toy.replica().running():

        async def counted() -> bool:
            return await toy.tallies() == {"a": 20}

        await eventually(counted)


async def publish_with_a_latin_header(toy: Toy, ticks: list[tuple[str, int | None]]) -> None:
    """Ticks by name and number; without a number the record has a header named ``caf\xe9``."""
    producer = AIOKafkaProducer(bootstrap_servers=toy.bootstrap)
    await producer.start()
    for name, n in ticks:
        record = toy.event(name, n or 99)
        headers = [(Latin("café") if n is None else "more", b""), *record.headers]
        batch = producer.create_batch()
        # The builder in C encodes by itself.
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 100_000)
        batch.append(timestamp=None, key=record.key, value=record.value, headers=headers)
        partition = cached_partition(record.key, 3)
        await (await producer.send_batch(batch, toy.topic_in, partition=partition))
    await producer.stop()


async def test_the_same_id_with_another_body_is_set_aside(toy: Toy) -> None:
    await toy.publish([toy.event("a", 1, id="same"), toy.event("a", 2, id="same")])
    async with toy.replica().running():
        letters = await toy.letters(1)
    assert letters[0]["dlq_reason"] == "id_reused"
    assert await toy.tallies() == {"a": 1}


async def test_a_rejected_event_can_be_replayed_once_the_bug_is_mended(toy: Toy) -> None:
    event = toy.event("a", 1)
    Broken.on = True
    await toy.publish([event])
    async with toy.replica().running():
        await toy.letters(1)
        Broken.on = False
        await toy.publish([event])

        async def replayed() -> bool:
            return await toy.tallies() == {"a": 1}

        await eventually(replayed)
    assert [r["fate"] for r in await toy.rows("inbox")] == ["done"]


async def test_a_flood_of_our_own_bugs_stops_the_consumer_before_it_drains_the_topic(
    toy: Toy,
) -> None:
    Broken.on = True
    await toy.publish([toy.event(f"p{i}", 1) for i in range(1500)])
    replica = toy.replica()
    async with replica.running():
        await toy.letters(10)

        async def stopped() -> bool:
            return replica.consumer.stopped

        await eventually(stopped)
        rejected = len(await toy.rows("inbox"))
        assert rejected <= 500
        for probe in (1, 2, 3):
            replica.consumer.probe_now()

            async def one_more(probe: int = probe) -> bool:
                return len(await toy.rows("inbox")) == rejected + probe

            await eventually(one_more)
            # However old the rejects get, a stopped consumer reads one record at a time.
            replica.consumer._flood.reset()
        assert replica.consumer.stopped
        rejected += 3
        Broken.on = False
        replica.consumer.probe_now()

        async def resumed() -> bool:
            return sum((await toy.tallies()).values()) == 1500 - rejected

        await eventually(resumed, 40)


async def test_a_stopped_consumer_passes_what_nobody_wants_until_one_is_handled(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of a type that is not ours says nothing of what is wrong with us."""
    monkeypatch.setattr(consumer, "PROBE", 3600.0)
    Broken.on = True
    await toy.publish([toy.event("a", n) for n in range(1, 21)])
    replica = toy.replica()
    async with replica.running():

        async def stopped() -> bool:
            return replica.consumer.stopped

        await eventually(stopped)
        Broken.on = False
        unwanted = toy.event("a", 0)
        headers = {**dict(unwanted.headers), "ce_type": b"somebody.elses.v1"}
        await toy.publish([unwanted._replace(headers=list(headers.items()))] * 20)
        await toy.publish([toy.event("a", 41)])
        replica.consumer.probe_now()

        async def resumed() -> bool:
            return not replica.consumer.stopped

        await eventually(resumed)
    assert await toy.tallies() == {"a": 1}


async def test_two_replicas_rebalance_without_losing_or_doubling(toy: Toy) -> None:
    await toy.publish([toy.event(f"p{i % 30}", i // 30 + 1) for i in range(3000)])
    async with toy.replica().running():
        second = toy.replica()
        second.start()
        await asyncio.sleep(3)
        await toy.publish([toy.event(f"q{i % 30}", i // 30 + 1) for i in range(3000)])
        await asyncio.sleep(0.3)
        await second.kill()

        async def counted() -> bool:
            return sum((await toy.tallies()).values()) == 6000

        await eventually(counted, 60)
        events = await toy.published(lambda found: len({e.id for e in found}) == 6000)
    assert in_order(events)
