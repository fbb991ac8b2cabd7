"""What is wrong with the records that a partner published?

First what our own reader would say of each record alone, then what no reader of one record
sees: its key, its partition, its topic, and what came before it. A finding names the
attribute or field and the remedy; it never quotes a value, which may be personal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import from_json

from libs.common.cloudevents import (
    CloudEvent,
    Reason,
    Undecodable,
    UnknownType,
    dataschema,
    decode,
    partition_for,
)
from libs.common.events import EVENT_TYPES
from libs.common.kafka.record import Record, Unreadable

#: A reader rejects what lies further ahead than this.
AHEAD = timedelta(minutes=5)
#: What happened longer ago than this is a record of the past: most of it tells nobody.
PAST = timedelta(days=7)

#: What to do about each reason for which a record can't be read.
REMEDIES: Mapping[str, str] = {
    Reason.UNREADABLE: "write the names of headers in UTF-8",
    Reason.EMPTY_BODY: "send the event's body as the value; a tombstone means nothing here",
    Reason.TOO_LARGE: "leave out what is large, such as embedded documents, and refer to it",
    Reason.NOT_CLOUDEVENT: (
        "send the attributes as ce_ headers, or one JSON object with them and content-type "
        "application/cloudevents+json"
    ),
    Reason.MISSING_ATTRIBUTE: "add it, in binary mode as the header ce_<name>",
    Reason.BAD_ATTRIBUTE: "write it by that rule",
    Reason.BAD_TIME: "write it like 2026-11-18T02:05:01.120Z",
    Reason.TIME_AHEAD: "send an event when it has happened; look at the clock and the time zone",
    Reason.UNKNOWN_MAJOR_VERSION: "take a version out of contracts/schemas",
    Reason.NOT_JSON: "write the body as JSON in UTF-8",
    Reason.SCHEMA_VIOLATION: "compare the body with the type's schema and examples",
}
#: Headers that nobody must send and everybody is better off with.
RECOMMENDED: Mapping[str, str] = {
    "content-type": "application/json; without it other tools must guess",
    "ce_subject": "the aggregate's id, so that readers need not look into the body",
    "ce_sequence": "a number that grows with the aggregate's events, so that readers see a gap",
    "ce_dataschema": "the schema's URI, so that readers know by what it was written",
    "traceparent": "the trace, so that one can be followed from your system through ours",
}


class Finding(NamedTuple):
    """What is wrong at ``partition``:``offset``. A ``hint`` is only advice."""

    partition: int
    offset: int
    code: str
    detail: str
    remedy: str
    hint: bool = False

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset} {self.code}: {self.detail}. Remedy: {self.remedy}."


class _Seen(NamedTuple):
    digest: bytes
    partition: int
    offset: int


class Inspector:
    """Looks at the records of one topic, each partition's in order.

    ``partitions`` is how many the topic has, ``status`` says of its types which are drafts.
    """

    def __init__(
        self, topic: str, *, key: str, status: Mapping[str, str], partitions: int, now: datetime
    ) -> None:
        self._topic = topic
        self._key = key
        self._status = status
        self._partitions = partitions
        self._now = now
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._last: dict[tuple[int, str, str, str], int] = {}

    def inspect(self, record: Record) -> Iterator[Finding]:
        """All that can be said of ``record`` after those that were inspected before it."""
        for code, detail, remedy, *hint in self._all(record):
            yield Finding(record.partition, record.offset, code, detail, remedy, bool(hint))

    def _all(self, record: Record) -> Iterator[tuple[str, ...]]:
        if isinstance(record, Unreadable):
            reason = Reason.UNREADABLE
            yield reason, "the name of a header, here or earlier in its batch", REMEDIES[reason]
            return
        yield from self._place(record)
        try:
            event = decode(record.headers, record.value, EVENT_TYPES)
        except Undecodable as error:
            yield error.reason, error.detail, REMEDIES[error.reason]
            return
        except UnknownType:
            yield (
                "unknown_type",
                "type: none of contracts/schemas",
                "use one of this topic's types; readers skip what they do not know",
            )
            return
        yield from self._address(record, event)
        yield from self._time(record, event)
        yield from self._history(record, event)
        yield from self._advice(record, event)

    def _place(self, record: Record) -> Iterator[tuple[str, ...]]:
        if record.key is None:
            yield (
                "no_key",
                "the record's key is missing",
                f"set it to <hospital>/<{self._key}>; else one patient's events are in no order",
            )
        elif record.partition != partition_for(record.key, self._partitions):
            yield (
                "wrong_partition",
                "partition: not the one that murmur2 gives to this key",
                "use Kafka's default partitioner; with librdkafka partitioner=murmur2_random",
            )

    def _address(self, record: Record, event: CloudEvent) -> Iterator[tuple[str, ...]]:
        if self._topic != event.data.TOPIC:
            yield (
                "wrong_topic",
                f"type: {event.type} does not belong to {self._topic}",
                f"publish it to {event.data.TOPIC}",
            )
            return
        name = event.data.KEY
        expected = f"{event.hospital}/{getattr(event.data, name)}"
        if record.key is not None and record.key != expected.encode():
            yield (
                "wrong_key",
                f"the record's key is not ce_hospital, a slash and {name} of the body",
                f"set it to <hospital>/<{name}>",
            )
        if self._status.get(event.type) == "draft":
            yield (
                "draft_type",
                f"type: {event.type} is a draft that no service reads yet",
                "expect it to change",
                "hint",
            )

    def _time(self, record: Record, event: CloudEvent) -> Iterator[tuple[str, ...]]:
        published = self._now
        if record.timestamp > 0:
            published = min(datetime.fromtimestamp(record.timestamp / 1000, UTC), self._now)
        if event.time > published + AHEAD:
            reason = Reason.TIME_AHEAD
            yield reason, "time: more than 5 minutes after it was published", REMEDIES[reason]
        elif event.time < published - PAST:
            yield (
                "long_past",
                f"time: more than {PAST.days} days before it was published",
                "if this is no backfill, send events when they happen; old ones tell nobody",
                "hint",
            )

    def _history(self, record: Record, event: CloudEvent) -> Iterator[tuple[str, ...]]:
        identity = (event.hospital, event.source, event.id)
        seen = _Seen(
            blake2b(record.value or b"", digest_size=16).digest(), record.partition, record.offset
        )
        before = self._seen.setdefault(identity, seen)
        if before is not seen:
            if before.digest != seen.digest:
                yield (
                    "reused_id",
                    f"id: that of {before.partition}:{before.offset}, with another body",
                    "give each event an id of its own, and repeat it byte by byte",
                )
            else:
                yield (
                    "repeated",
                    f"id: that of {before.partition}:{before.offset}, with the same body",
                    "nothing, if it was sent again after a fault; readers skip it",
                    "hint",
                )
            return
        if event.sequence is None:
            return
        # There is an order within a partition only.
        aggregate = (record.partition, event.hospital, event.source, event.subject)
        last = self._last.get(aggregate)
        if last is not None and event.sequence <= last:
            yield (
                "sequence_back",
                "sequence: not above that of the same subject's event before it",
                "count up within an aggregate, and send in that order over one producer",
            )
        self._last[aggregate] = max(event.sequence, last or 0)

    def _advice(self, record: Record, event: CloudEvent) -> Iterator[tuple[str, ...]]:
        headers = {name.lower(): value for name, value in record.headers}
        if (headers.get("content-type") or b"").startswith(b"application/cloudevents"):
            return  # structured: the attributes stand in the body
        for place, near in _strangers(from_json(record.value or b""), event.data):
            yield (
                "unknown_field",
                f"{place}: a field that the schema does not know"
                + (f", like {near}" if near else ""),
                "readers ignore it; if its name is misspelt, mend it",
                "hint",
            )
        for name, use in RECOMMENDED.items():
            if headers.get(name) is None and headers.get(f"ce_{name}") is None:
                yield f"no_{name.removeprefix('ce_')}", f"header {name}: missing", use, "hint"
        if event.dataschema not in (None, dataschema(event.type)):
            yield (
                "other_dataschema",
                "dataschema: not that of the type",
                f"write {dataschema(event.type)}",
                "hint",
            )


def _strangers(body: Any, read: Any, place: str = "the body") -> Iterator[tuple[str, str]]:
    """Where ``body`` has fields that were not ``read``, and which of ours each is most like.

    Their own names are not told: what stands there in place of a name may be a value.
    """
    if isinstance(body, list) and isinstance(read, tuple):
        for inner, part in zip(body, read, strict=True):
            yield from _strangers(inner, part, place)
    elif isinstance(body, dict) and isinstance(read, BaseModel):
        known = type(read).model_fields
        for name, inner in body.items():
            if name in known:
                yield from _strangers(inner, getattr(read, name), name)
            else:
                yield place, next(iter(get_close_matches(name.lower(), known, 1)), "")


def report(findings: Sequence[Finding]) -> list[str]:
    """Each thing that is wrong on a line of its own, then each kind of hint on one."""
    lines = [str(f) for f in findings if not f.hint]
    hints: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.hint:
            hints.setdefault(finding.code, []).append(finding)
    return lines + [f"hint, {len(same)} times, first {same[0]}" for same in hints.values()]
