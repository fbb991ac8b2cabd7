"""How does one service read a stretch of a topic again, while it runs?

For a service whose database was restored from a backup, or that had ignored what it knows now. The
records are copied to the service's own replay topic (libs/common/replays.py), so that no group is
stopped, no offset is set back and no other reader is bothered. Its inbox drops what it has settled
already; those are left out from the beginning, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.console import RenderableType

from lianxin import asked
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table
from lianxin.records import PAGE, Told, headers, inbox_rows, told
from lianxin.sending import Choice, Sent, send_again, sentences
from libs.common.cloudevents import Undecodable, UnknownType, decode
from libs.common.events import EVENT_TYPES
from libs.common.fates import Fate
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.record import Record
from libs.common.migrate import INBOX_DAYS

#: Records of one command, which it keeps in mind (1 KB each); more are done in several stretches.
MOST: Final = 200_000

#: What becomes of a record that is not sent, or is.
NEW, REJECTED = "new", "rejected before"
SETTLED, IGNORED, UNREADABLE = "settled already", "of a type that it ignores", "unreadable"


@dataclass
class Stretch:
    """What of a topic would be sent: records by place, and why the others not."""

    records: dict[tuple[str, int, int], Told] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)


@command
async def replay(
    topic: Annotated[str, typer.Argument(help="The topic of which a stretch is read again.")],
    *,
    into: Annotated[str, typer.Option("--into", help="The service that reads it again.")],
    since: Annotated[
        str, typer.Option("--from", help="From when: 2026-01-31T08:00, or 2h, 30min, 3d ago.")
    ],
    until: asked.Until = None,
    type: asked.Type = None,
    hospital: asked.Hospital = None,
    rate: asked.Rate = 200,
    apply: asked.Apply = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Have one service read a stretch of a topic again, beside what is live.

    What it has settled already is left out, and would change nothing; what it has not read yet
    comes by itself, in its order. It is not stopped."""
    installation = Installation.of_environment()
    _sound(installation, topic, into)
    now, zone = installation.ports.clock.now(), installation.settings.hospital_time_zone
    begin, end = asked.moment(since, "--from", now, zone), asked.moment(until, "--to", now, zone)
    assert begin is not None
    if begin >= (end or now):
        raise Failed("--from must lie before --to, and both not in the future.")
    if begin < now - timedelta(days=INBOX_DAYS):
        raise Failed(
            f"The inbox remembers {INBOX_DAYS} days, so what is older would be handled twice:"
            " give a later --from."
        )
    who = asked.named(operator)
    async with installation.open() as kafka:
        spans, unread = await read_spans(kafka, topic, installation.group(into), begin, end)
        stretch = await _stretch(installation, kafka, into, spans, type, hospital)
        sent: Sent | None = None
        if apply and stretch.records:
            choice = Choice(into, stretch.records, command="replay", operator=who, rate=rate)
            sent = await send_again(installation, kafka, choice)
    facts = {
        "applied": sent is not None,
        "would_send": len(stretch.records),
        "counts": stretch.counts,
        "not_read_yet": unread,
        "types": stretch.types,
        "sent": sent,
    }
    shown: list[RenderableType] = [
        table(f"{topic} into {into}", ("#records", "which are"), _lines(stretch)),
    ]
    if unread:
        shown.append(f"{unread} records {into} has not read yet: they come by themselves.")
    if sent is not None:
        shown += sentences(sent, into)
        return Answer(facts, shown, WELL if sent.well else LOOK)
    more = "; --apply sends them" if stretch.records else ""
    shown.append(f"{len(stretch.records)} records would be read again{more}.")
    return Answer(facts, shown)


def _sound(installation: Installation, topic: str, service: str) -> None:
    readable = installation.spec(service).topics
    if topic not in readable:
        raise Failed(
            f"{service} does not read {topic!r}; it reads {', '.join(readable) or 'no topic'}."
        )


async def read_spans(
    kafka: Kafka, topic: str, group: str, begin: datetime, end: datetime | None
) -> tuple[dict[Place, tuple[int, int]], int]:
    """What of that time the group has read, and how many records it has not: a copy of those
    would overtake what stands before them."""
    places = await kafka.places([topic])
    if not places:
        raise Failed(f"The topic {topic} does not exist in Kafka: `lianxin topics apply` makes it.")
    ends = await kafka.ends(places)
    first = await kafka.offsets_at(places, begin)
    last = (
        {p: e for p, (_, e) in ends.items()} if end is None else await kafka.offsets_at(places, end)
    )
    committed = await kafka.committed(group)
    spans = {p: (first[p], max(first[p], min(last[p], committed.get(p, 0)))) for p in places}
    size = sum(last - first for first, last in spans.values())
    if size > MOST:
        raise Failed(f"{size} records are too many at once ({MOST}): give --to, and go on there.")
    return spans, sum(max(0, last[p] - end) for p, (_, end) in spans.items())


async def _stretch(
    installation: Installation,
    kafka: Kafka,
    service: str,
    spans: dict[Place, tuple[int, int]],
    type: str | None,
    hospital: str | None,
) -> Stretch:
    found = Stretch()
    known = {t: EVENT_TYPES[t] for t in installation.spec(service).handlers if t in EVENT_TYPES}
    database = installation.database(service)
    async for page in _pages(kafka, spans):
        asking: list[tuple[Record, Told]] = []
        for record in page:
            names = told(headers(record))
            if type not in (None, names.type) or hospital not in (None, names.hospital):
                continue
            try:
                decode(record.headers, record.value, known)
            except UnknownType:
                found.counts[IGNORED] += 1
            except Undecodable:
                found.counts[UNREADABLE] += 1
            else:
                asking.append((record, names))
        rows = await inbox_rows(database, (n.inbox_id for _, n in asking if n.inbox_id is not None))
        for record, names in asking:
            row = rows.get(names.inbox_id or "")
            if row is not None and row["fate"] != Fate.REJECTED:
                found.counts[SETTLED] += 1
                continue
            found.counts[NEW if row is None else REJECTED] += 1
            found.types[names.type or "?"] += 1
            found.records[(record.topic, record.partition, record.offset)] = names
    return found


async def _pages(kafka: Kafka, spans: dict[Place, tuple[int, int]]) -> AsyncIterator[list[Record]]:
    page: list[Record] = []
    async for record in kafka.records(spans):
        page.append(record)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _lines(stretch: Stretch) -> list[tuple[int, str]]:
    meaning = {
        NEW: "new to it: sent",
        REJECTED: "set aside before: sent",
        SETTLED: "settled already: left out",
        IGNORED: "of types that it ignores: left out",
        UNREADABLE: "unreadable, and among the dead letters: left out",
    }
    counted = ((stretch.counts[each], words) for each, words in meaning.items())
    return [(count, words) for count, words in counted if count]
