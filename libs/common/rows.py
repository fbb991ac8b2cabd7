"""How do the runtime's own rows look: inbox, outbox and timers?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from libs.common.cipher import Cipher, Place
from libs.common.decision import Input, Timer, derived_id
from libs.common.fates import Outcome
from libs.common.mongo.documents import Row, opened, sealed, unsealed

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


#: What a rule has put into these rows, and so may be personal: sealed at rest.
OF_RULES: Final[Mapping[str, str]] = {"result": INBOX, "data": TIMERS}


def at_rest(row: Row, cipher: Cipher | None) -> Row:
    """A row of the inbox or of the timers as it is stored."""
    return row if cipher is None else _mapped(row, cipher, sealed)


def at_hand(row: Row, cipher: Cipher | None) -> Row:
    """The same row as it was before ``at_rest``."""
    return row if cipher is None else _mapped(row, cipher, opened)


def _mapped(row: Row, cipher: Cipher, change: Callable[[Any, Place, Cipher | None], Any]) -> Row:
    return row | {
        field: change(row[field], Place(collection, row["_id"], field), cipher)
        for field, collection in OF_RULES.items()
        if field in row
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
        value = (
            self.value
            if cipher is None
            else cipher.seal(Place(OUTBOX, self.id, "value"), self.value)
        )
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
        value = row["value"]
        return cls(
            id=row["_id"],
            topic=row["topic"],
            stream=row["stream"],
            sequence=row["sequence"],
            traceparent=row["traceparent"],
            at=row["at"],
            key=row["key"],
            value=value
            if cipher is None
            else unsealed(value, Place(OUTBOX, row["_id"], "value"), cipher),
            headers=list(row["headers"].items()),
        )
