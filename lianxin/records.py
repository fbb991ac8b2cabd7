"""What does a record say of itself, also one that nobody can read?

Names and places only: what may be a person's, such as a key or a subject, stays out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from libs.common.fates import Fate
from libs.common.kafka.record import Record, Unreadable
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.replays import COPY, LETTER, Origin, origin
from libs.common.rows import INBOX
from libs.common.structured import binary_form
from libs.common.undecodable import Undecodable

#: Rows that are asked for at a time.
PAGE = 500


#: Headers that name things and places. Any other may say anything: a publisher may add its own.
NAMES: Final = frozenset(
    {
        *("content-type", "traceparent"),
        *(f"ce_{n}" for n in ("specversion", "id", "source", "type", "hospital", "time")),
        *(f"ce_{n}" for n in ("dataschema", "sequence", "traceparent")),
        *(f"ce_{n}" for n in ("correlationid", "causationid")),
        *(f"{LETTER}{n}" for n in (*Origin._fields, "consumer", "reason", "detail")),
        *(f"{COPY}{n}" for n in Origin._fields),
    }
)


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def said(value: bytes | None) -> str | None:
    """A header's text as a terminal may be shown it: a publisher may have written anything."""
    if value is None:
        return None
    words = value[:256].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def headers(record: Record) -> Mapping[str, bytes | None]:
    """Its attributes as ``ce_*``, in whatever form it came."""
    told = dict(record.headers)
    try:
        return told | binary_form(dict(told), record.value or b"")[0]
    except Undecodable:
        return told


@dataclass(frozen=True, slots=True)
class Told:
    """An event's names. ``trace_id`` is of its trace, if it is in one."""

    id: str | None
    source: str | None
    type: str | None
    hospital: str | None
    time: str | None
    correlation_id: str | None
    causation_id: str | None
    trace_id: str | None

    @property
    def inbox_id(self) -> str | None:
        """What inboxes know it by."""
        if self.id is None or self.source is None or self.hospital is None:
            return None
        return f"{self.hospital}|{self.source}|{self.id}"


def told(h: Mapping[str, bytes | None]) -> Told:
    trace = said(h.get("ce_traceparent") or h.get("traceparent"))
    parts = (trace or "").split("-")
    return Told(
        id=said(h.get("ce_id")),
        source=said(h.get("ce_source")),
        type=said(h.get("ce_type")),
        hospital=said(h.get("ce_hospital")),
        time=said(h.get("ce_time")),
        correlation_id=said(h.get("ce_correlationid")),
        causation_id=said(h.get("ce_causationid")),
        trace_id=parts[1] if len(parts) == 4 else None,
    )


def body_hash(record: Record) -> bytes:
    """What inboxes keep of a body (``libs/common/intake.py``)."""
    return blake2b(record.value or b"", digest_size=16).digest()


@dataclass
class Letter:
    """A dead letter: where it stands, why, and what became of its event since.

    ``state``: ``waiting``, ``settled`` (handled since), ``other body`` (its id belongs to another
    event, which was handled), or ``no record`` (only its place is known: read it there).
    """

    service: str
    partition: int
    offset: int
    set_aside_at: datetime
    reason: str
    detail: str
    first_stood: Origin
    event: Told
    size: int
    hash: bytes
    state: str = "waiting"
    times: int = 1

    @property
    def place(self) -> str:
        """Where it stands, as people say it: the offset, of a further partition with that."""
        return f"{self.partition}-{self.offset}" if self.partition else str(self.offset)

    def facts(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "partition": self.partition,
            "offset": self.offset,
            "set_aside_at": self.set_aside_at,
            "reason": self.reason,
            "detail": self.detail,
            "first_stood": self.first_stood._asdict(),
            "event": self.event,
            "bytes": self.size,
            "state": self.state,
            "times": self.times,
        }


def letter(service: str, record: Record) -> Letter:
    own = dict(record.headers)
    reason = said(own.get("dlq_reason"))
    return Letter(
        service=service,
        partition=record.partition,
        offset=record.offset,
        set_aside_at=at(record.timestamp),
        reason=reason or "?",
        detail=said(own.get("dlq_detail")) or "",
        first_stood=origin(record),
        event=told(headers(record)),
        size=len(record.value or b""),
        hash=body_hash(record),
        state="no record"
        if isinstance(record, Unreadable) or reason == "unreadable"
        else "waiting",
    )


async def inbox_rows(database: Database, ids: Iterable[str]) -> dict[str, Row]:
    """What a service's inbox says of these."""
    wanted, found = sorted(set(ids)), dict[str, Row]()
    for n in range(0, len(wanted), PAGE):
        rows = await database.find_rows(
            database.raw(INBOX),
            {"_id": {"$in": wanted[n : n + PAGE]}},
            fields=("fate", "note", "hash", "at", "origin"),
        )
        found |= {row["_id"]: row for row in rows}
    return found


async def settle(database: Database, letters: Iterable[Letter]) -> None:
    """Say of each of one service's letters what became of its event since."""
    mine = [(each, each.event.inbox_id) for each in letters]
    rows = await inbox_rows(database, (id for _, id in mine if id is not None))
    for each, id in mine:
        row = rows.get(id or "")
        if row is not None and row["fate"] != Fate.REJECTED and each.state == "waiting":
            same = bytes(row["hash"]) == each.hash
            each.state = "settled" if same else "other body"
