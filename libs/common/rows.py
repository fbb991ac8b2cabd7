"""How do the runtime's own rows look: inbox, outbox and timers?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from libs.common.cipher import Cipher
from libs.common.decision import Input, Timer, derived_id
from libs.common.fates import Outcome
from libs.common.mongo import Row

INBOX = "inbox"
OUTBOX = "outbox"
TIMERS = "timers"


def inbox_id(input: Input) -> str:
    return f"{input.hospital}|{input.source}|{input.id}"


def inbox_row(id: str, input: Input, outcome: Outcome, now: datetime) -> Row:
    return {
        "_id": id,
        "at": now,
        "fate": outcome.fate,
        "note": outcome.note,
        "hash": input.body_hash,
        "origin": list(input.origin) if input.origin else None,
        "result": outcome.result,
    }


def timer_row(timer: Timer, cause: Input, traceparent: str) -> Row:
    """``next`` is when to look at it; it is ``due`` until its rule has failed."""
    id = derived_id(timer.id, timer.due.isoformat())
    return {
        "_id": f"{cause.hospital}/{id}",
        "hospital": cause.hospital,
        "id": id,
        "due": timer.due,
        "next": timer.due,
        "type": timer.type,
        "subject": timer.subject,
        "data": dict(timer.data),
        "correlation_id": cause.correlation_id or cause.id,
        "traceparent": traceparent,
    }


class OutboxRow(NamedTuple):
    """One event as final Kafka bytes. ``stream`` and ``sequence`` give its place."""

    id: str
    topic: str
    stream: str
    sequence: int
    traceparent: str
    at: datetime
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]

    @property
    def hospital(self) -> str:
        return self.id.split("/", 1)[0]

    def as_row(self, cipher: Cipher | None = None) -> Row:
        value = self.value if cipher is None else cipher.seal(self.hospital, self.value)
        return {
            "_id": self.id,
            "topic": self.topic,
            "stream": self.stream,
            "sequence": self.sequence,
            "traceparent": self.traceparent,
            "at": self.at,
            "key": self.key,
            "value": value,
            "headers": dict(self.headers),
        }

    @classmethod
    def of_row(cls, row: Row, cipher: Cipher | None = None) -> OutboxRow:
        hospital = row["_id"].split("/", 1)[0]
        return cls(
            id=row["_id"],
            topic=row["topic"],
            stream=row["stream"],
            sequence=row["sequence"],
            traceparent=row["traceparent"],
            at=row["at"],
            key=row["key"],
            value=row["value"] if cipher is None else cipher.open(hospital, row["value"]),
            headers=list(row["headers"].items()),
        )
