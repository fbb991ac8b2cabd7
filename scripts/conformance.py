"""Is what a partner published to a topic what the contracts say?

``make conformance TOPIC=… [BOOTSTRAP=…] [FROM=…]`` reads it up to where it ends now, in no
consumer group and without committing anything, and says record by record what is wrong. The exit
code is 0 if nothing is, 1 if something is, 2 if there was nothing to judge. Credentials come from
``KAFKA_*`` variables, as in ``contracts/partner-kit``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from libs.common.broker import KafkaSettings
from libs.common.kafka.record import Record, Unreadable
from libs.common.topic_registry import Topic
from scripts.contracts import CONTRACTS
from scripts.findings import Finding, Inspector, report
from scripts.published import read as contracts_in

WRONG, NOTHING = 1, 2


class Nothing(Exception):
    """There is nothing to judge. Its text is one sentence with the remedy."""


def connection(bootstrap: str) -> dict[str, Any]:
    """How a client reaches the broker: plainly, unless a variable says otherwise."""
    try:
        return replace(KafkaSettings().broker, servers=bootstrap).options()
    except ValidationError as error:
        raise Nothing("; ".join(str(e["msg"]) for e in error.errors())) from None
    except OSError as error:
        raise Nothing(f"KAFKA_CA, KAFKA_CERT or KAFKA_KEY can't be used: {error}") from None


def since(text: str) -> datetime:
    """An RFC 3339 time with an offset."""
    try:
        at = datetime.fromisoformat(text.upper())
        if at.tzinfo is None:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError("write it like 2026-11-18T09:00:00+08:00") from None
    return at


async def partitions(bootstrap: str, topic: str) -> int:
    """How many the topic has."""
    admin = AIOKafkaAdminClient(**connection(bootstrap))
    try:
        await admin.start()
        (told,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if told["error_code"]:
        raise Nothing(f"There is no topic {topic} at {bootstrap}, or no right to read it")
    return len(told["partitions"])


async def records(
    client: AIOKafkaConsumer, topic: str, count: int, start: datetime | None
) -> AsyncIterator[Record]:
    """The topic's records from ``start`` on, up to where it ends now."""
    found = [TopicPartition(topic, number) for number in range(count)]
    ends = await client.end_offsets(found)
    begins = await client.beginning_offsets(found)
    if start is not None:
        at = await client.offsets_for_times({tp: int(start.timestamp() * 1000) for tp in found})
        begins = {tp: at[tp].offset if at[tp] else ends[tp] for tp in found}
    for tp in found:  # one after another, so that memory holds one batch and lines are in order
        client.assign([tp])
        client.seek(tp, begins[tp])
        one_by_one = False
        while (position := await client.position(tp)) < ends[tp]:
            try:
                got = await client.getmany(
                    tp, timeout_ms=10_000, max_records=1 if one_by_one else None
                )
            except UnicodeDecodeError:
                # The library fails at one record and has lost its whole batch.
                if one_by_one:
                    yield Unreadable(topic, tp.partition, position)
                    position += 1
                one_by_one = not one_by_one
                client.seek(tp, position)
                continue
            for record in got.get(tp, ()):
                if record.offset < ends[tp]:
                    yield record
            if await client.position(tp) == position:
                raise Nothing(f"{topic} stopped answering at {tp.partition}:{position}: try again")


async def judge(
    bootstrap: str, topic: Topic, start: datetime | None, limit: int
) -> tuple[int, list[Finding]]:
    """How many records were read, and what is to be said of them."""
    client = AIOKafkaConsumer(
        **connection(bootstrap),
        group_id=None,
        enable_auto_commit=False,
    )
    findings: list[Finding] = []
    read = 0
    try:
        count = await partitions(bootstrap, topic.name)
        await client.start()
        inspector = Inspector(
            topic.name,
            key=topic.key,
            status={t.type: t.status for t in topic.types},
            partitions=count,
            now=datetime.now(UTC),
        )
        async for record in records(client, topic.name, count, start):
            findings += inspector.inspect(record)
            read += 1
            if read == limit:
                break
    except (KafkaError, OSError) as error:
        raise Nothing(
            f"{bootstrap} can't be read ({type(error).__name__}): look at BOOTSTRAP and the "
            "KAFKA_ variables"
        ) from error
    finally:
        await client.stop()
    return read, findings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("topic")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--from", dest="start", type=since, help="when to begin, with an offset")
    parser.add_argument("--limit", type=int, default=100_000, help="how many records at most")
    chosen = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it is told below, in a sentence
    known = {n: t for n, t in contracts_in(CONTRACTS).topics.items() if t.types}
    try:
        if (topic := known.get(chosen.topic)) is None:
            raise Nothing(f"TOPIC is one of {', '.join(sorted(known))}")
        count, findings = asyncio.run(judge(chosen.bootstrap, topic, chosen.start, chosen.limit))
        if not count:
            raise Nothing(f"Nothing stands on {topic.name} there: publish something first")
    except Nothing as nothing:
        print(f"conformance: {nothing}.", file=sys.stderr)
        return NOTHING
    for line in report(findings):
        print(line)
    wrong = {(f.partition, f.offset) for f in findings if not f.hint}
    print(
        f"conformance: {topic.name}: {count} records, {len(wrong)} of them wrong"
        + (f"; stopped at the limit of {chosen.limit}" if count == chosen.limit else "")
    )
    return WRONG if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
