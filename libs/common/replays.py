"""How does one consumer read a record again, and nobody else?

Each consumer group has a topic of its own beside those of its events, ``<group>.replay``.
Operators copy records there: dead letters, or a stretch of a topic. A copy keeps its id and
source, so the inbox drops what is settled already; what was rejected, or never came, is a late
arrival. The group need not be stopped, and other readers of the source never see the copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from libs.common.kafka.record import Record

#: A dead letter's own headers, and a copy's; neither is part of the record that they tell of.
LETTER: Final = "dlq_"
COPY: Final = "replay_"
#: How the names of the topics end where each of the two stands.
DEAD_LETTERS: Final = ".dlq"
REPLAYS: Final = ".replay"


def replay_topic(group: str) -> str:
    return f"{group}{REPLAYS}"


def is_replay(topic: str) -> bool:
    return topic.endswith(REPLAYS)


class Origin(NamedTuple):
    """Where a record stood when it was first read, and when it was written there (ms)."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Copy(NamedTuple):
    """A record as it is sent to be read again."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def origin(record: Record) -> Origin:
    """Of a record as it stands on any topic: an event's, a copy's, or a dead letter's.

    A copy that was set aside again names two places; the first one counts. Where neither letters
    nor copies stand, such headers are the publisher's own, and nobody believes them.
    """
    told, at = dict(record.headers), Origin(*(getattr(record, f) for f in Origin._fields))
    if at.topic.endswith(DEAD_LETTERS):
        at = _named(told, LETTER) or at
    if is_replay(at.topic):
        at = _named(told, COPY) or at
    return at


def _named(told: Mapping[str, bytes], prefix: str) -> Origin | None:
    try:
        return Origin(
            told[f"{prefix}topic"].decode(),
            *(int(told[f"{prefix}{name}"]) for name in ("partition", "offset", "timestamp")),
        )
    except (KeyError, ValueError):
        return None


def copy(record: Record, group: str) -> Copy:
    """``record`` for ``group`` to read again, as it was when it was first read."""
    told: Mapping[str, object] = origin(record)._asdict()
    headers = [h for h in record.headers if not h[0].startswith((LETTER, COPY))]
    headers += [(f"{COPY}{name}", str(value).encode()) for name, value in told.items()]
    # As a dead letter: a record needs a key or a value.
    key = b"" if record.key is None and record.value is None else record.key
    return Copy(replay_topic(group), key, record.value, headers)
