"""How do events reach the timeline? From Kafka, all topics from their beginning, in no group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import structlog
import yaml

from libs.common.cloudevents import Undecodable, UnknownType, decode
from libs.common.devstack.page.inboxes import Inboxes
from libs.common.devstack.page.timeline import Timeline
from libs.common.events import Channel, NotificationRead, NotificationSent
from libs.common.kafka.client import BusError
from libs.common.kafka.reading import read_all
from libs.common.kafka.record import Record

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0


class EventFeed(Protocol):
    """Every record there is, then live."""

    def __call__(self) -> AsyncIterator[Record]: ...


def topics(registry: Path) -> list[str]:
    """The names of the topics declared in ``registry`` (one YAML file each)."""
    found = []
    for file in sorted(registry.glob("*.yaml")):
        declared = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(declared, Mapping):
            found.append(str(declared["name"]))
    return found


class KafkaFeed:
    """Reads the topics, and begins again when the broker was away."""

    def __init__(self, bootstrap: str, names: Iterable[str]) -> None:
        self._bootstrap, self._topics = bootstrap, list(names)

    async def __call__(self) -> AsyncIterator[Record]:
        while True:
            try:
                records = read_all(self._bootstrap, self._topics)
                async with aclosing(records):  # type: ignore[type-var]
                    async for record in records:
                        yield record
            except BusError as error:
                log.warning("broker_away", reason=str(error))
            await asyncio.sleep(RETRY_SECONDS)


async def follow(feed: EventFeed, timeline: Timeline, inboxes: Inboxes) -> None:
    """Put all that the feed brings on the timeline, for ever."""
    count = 0
    async for record in feed():
        take(record, timeline, inboxes)
        count += 1
        if count % 200 == 0:
            await asyncio.sleep(0)  # let the browser have a turn during the catch-up


def take(record: Record, timeline: Timeline, inboxes: Inboxes) -> None:
    """Put one record on the timeline. What is no event of ours is shown as nothing."""
    if record.topic.endswith(".dlq"):
        headers = dict(record.headers)
        reason = (headers.get("dlq_reason") or b"").decode(errors="replace")
        id = f"{record.topic}|{record.partition}|{record.offset}"
        consumer = record.topic.removesuffix(".dlq").removeprefix("lianxin.")
        timeline.add_dead_letter(id, record.timestamp, consumer, reason)
        return
    try:
        event = decode(record.headers, record.value)
    except (Undecodable, UnknownType):
        return
    if not timeline.add_event(event, record.timestamp):
        return
    data = event.data
    if isinstance(data, NotificationSent | NotificationRead) and data.channel is Channel.INBOX:
        inboxes.changed(event.hospital, data.recipient_id)
