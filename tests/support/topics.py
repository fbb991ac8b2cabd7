"""What stands on the topics now, and how far behind are the consumer groups?

Asked of the broker itself, beside our own consumers: that is what makes it a proof.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from libs.common.cloudevents import CloudEvent, Undecodable, UnknownType, decode
from libs.common.kafka.record import Record
from libs.common.kafka.topics import TopicSpec, create_topics
from libs.common.replays import replay_topic

Position = tuple[str, int]

#: Those that take in any record of the others.
LARGEST = {"max.message.bytes": str(16 * 1024 * 1024)}


async def own_topics(bootstrap: str, group: str) -> None:
    """What stands beside a consumer group of a test's own. A group that shall read a topic that is
    not there reads none of the others either."""
    names = (f"{group}.dlq", replay_topic(group))
    await create_topics(bootstrap, [TopicSpec(name, 1, 1, LARGEST) for name in names])


@asynccontextmanager
async def _reader(bootstrap: str, topics: Iterable[str]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer in no group, so it has all partitions, at the beginning."""
    client = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await client.start()
        yield client
    finally:
        await client.stop()


async def ends(bootstrap: str, topics: Sequence[str]) -> dict[Position, int]:
    """The next offset of every partition."""
    async with _reader(bootstrap, topics) as client:
        found = await client.end_offsets(list(client.assignment()))
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


async def standing(bootstrap: str, *topics: str) -> list[Record]:
    """Every record up to the end as it is now, each partition's in order."""
    found: list[Record] = []
    async with _reader(bootstrap, topics) as client:
        end = await client.end_offsets(list(client.assignment()))
        while any([await client.position(tp) < offset for tp, offset in end.items()]):
            for tp, records in (await client.getmany(timeout_ms=500)).items():
                found += [r for r in records if r.offset < end[tp]]
    return found


async def behind(bootstrap: str, groups: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Of each group, how many records of its topics it has not committed yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        at = await ends(bootstrap, sorted({t for topics in groups.values() for t in topics}))
        lags = {}
        for group, topics in groups.items():
            committed = await admin.list_consumer_group_offsets(group)
            lags[group] = sum(
                end - max(0, committed[tp].offset if tp in committed else 0)
                for (topic, partition), end in at.items()
                if topic in topics and (tp := TopicPartition(topic, partition))
            )
        return lags
    finally:
        await admin.close()


def events(records: Iterable[Record], hospital: str) -> list[CloudEvent]:
    """The hospital's events, as often as they stand there."""
    found = []
    for record in records:
        try:
            event = decode(record.headers, record.value)
        except (Undecodable, UnknownType):
            continue
        if event.hospital == hospital:
            found.append(event)
    return found


def once(events: Iterable[CloudEvent]) -> list[CloudEvent]:
    """First occurrences: readers drop repetitions by (source, id), and so do we."""
    found: dict[tuple[str, str], CloudEvent] = {}
    for event in events:
        found.setdefault((event.source, event.id), event)
    return list(found.values())


def out_of_order(events: Iterable[CloudEvent]) -> list[str]:
    """Aggregates whose first occurrences do not count 1, 2, 3, …"""
    last: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    wrong = []
    for event in once(events):
        aggregate = (event.data.TOPIC, event.source, event.subject)
        if event.sequence != last[aggregate] + 1:
            wrong.append(f"{aggregate}: {event.sequence} after {last[aggregate]} ({event.type})")
        last[aggregate] = event.sequence or 0
    return wrong
