"""How does a record become an input, and what of those that can't?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

from libs.common import metrics
from libs.common.cloudevents import AHEAD, Reason, Undecodable, UnknownType, decode
from libs.common.dead_letters import DeadLetter
from libs.common.decision import Input
from libs.common.events import Event
from libs.common.kafka.record import Record, Unreadable
from libs.common.replays import is_replay


class Intake(NamedTuple):
    """What a batch of records holds. ``records`` are those of ``inputs``, one by one;
    ``malformed`` counts by source what was no event, but for what is read again."""

    inputs: list[Input]
    records: list[Record]
    letters: list[DeadLetter]
    malformed: dict[str, int]


def taken_in(records: Sequence[Record], types: Mapping[str, type[Event]], now: datetime) -> Intake:
    """The inputs of those that are one of ``types``. An event whose time lies more than ``AHEAD``
    ahead of ``now`` is none; an unknown type is passed over."""
    latest = now + AHEAD
    inputs: list[Input] = []
    by_input: list[Record] = []
    letters: list[DeadLetter] = []
    malformed: dict[str, int] = {}
    for record in records:
        try:
            if isinstance(record, Unreadable):
                raise Undecodable(Reason.UNREADABLE, "a header's name: UTF-8")
            event = decode(record.headers, record.value, types)
            if event.time > latest:
                raise Undecodable(Reason.TIME_AHEAD, "time is more than 5 minutes ahead")
        except UnknownType:
            # Not ours, or newer than we are: tolerated, counted, no trace in the inbox.
            metrics.EVENTS_CONSUMED.labels(topic=record.topic, type="unknown", fate="ignored").inc()
            continue
        except Undecodable as error:
            letters.append(DeadLetter(record, error.reason, error.detail))
            if is_replay(record.topic):
                continue
            source = error.source or _source_of(record)
            malformed[source] = malformed.get(source, 0) + 1
            continue
        by_input.append(record)
        inputs.append(
            Input(
                id=event.id,
                source=event.source,
                type=event.type,
                hospital=event.hospital,
                subject=event.subject,
                time=event.time,
                data=event.data,
                sequence=event.sequence,
                correlation_id=event.correlationid or event.id,
                traceparent=event.traceparent,
                tracestate=event.tracestate,
                body_hash=blake2b(record.value or b"", digest_size=16).digest(),
                origin=(record.topic, record.partition, record.offset),
                causation_id=event.causationid,
                body=event.body,
            )
        )
    return Intake(inputs, by_input, letters, malformed)


def _source_of(record: Record) -> str:
    """Who sent a malformed record, as far as it says so; its topic otherwise."""
    for name, value in record.headers:
        if name == "ce_source" and value and len(value) <= 256:
            return value.decode("ascii", "replace")
    return record.topic
