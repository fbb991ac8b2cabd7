"""Is the platform well, and if not, where does one look first?

One row for each service: how many of its replicas serve, who owns its sending and timers, what
waits in its outbox and on its topics, what fires late, what was set aside. Each part is asked by
itself, so that one which is away hides nothing of the others.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from lianxin.installation import SERVICES, Installation
from lianxin.output import LOOK, WELL, Answer, Json, command, duration, table
from libs.common.clock import Clock
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.client import BusError
from libs.common.lease import LEASES
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable, Unstorable
from libs.common.replays import replay_topic
from libs.common.rows import OUTBOX, TIMERS

#: What waits longer than this is worth a look.
WAITS_LONG: Final = timedelta(minutes=1)
#: Dead letters are worth one for so long.
LETTER_IS_NEW: Final = timedelta(days=1)
#: An owner renews its lease every second, and loses it after four (libs/common/lease.py).
OWNER_SECONDS: Final = 5.0
_COLUMNS: Final = (
    *("service", "serves", "owner", "#outbox", "oldest", "#timers", "#late"),
    *("#readers", "#lag", "oldest", "#dead letters", "newest", ""),
)
_STOPPED: Final = re.compile(r"^consumer_stopped(?:{[^}]*})? 1", re.MULTILINE)


@dataclass
class Replica:
    """One process of a service, as it says itself."""

    url: str
    serves: str = "away"
    consumer_stopped: bool | None = None
    look: list[str] = field(default_factory=list)


@dataclass
class ServiceStatus:
    """What is known of one service; ``None`` where nobody could say. ``look`` says at what."""

    service: str
    serves: str | None = None
    replicas: list[Replica] = field(default_factory=list)
    consumer_stopped: bool | None = None
    owned: bool | None = None
    outbox_rows: int | None = None
    outbox_oldest: timedelta | None = None
    timers: int | None = None
    timers_late: int | None = None
    timers_latest: timedelta | None = None
    group: str = ""
    members: int | None = None
    lag: dict[str, int] = field(default_factory=dict)
    lag_oldest: timedelta | None = None
    dead_letters: int | None = None
    newest_dead_letter: datetime | None = None
    look: list[str] = field(default_factory=list)


@command
async def status(*, json: Json = False) -> Answer:
    """All services at one glance: OK, or what to look at."""
    installation = Installation.of_environment()
    async with installation.open() as kafka:
        found = await statuses(installation, kafka)
    faults = sum(len(each.look) for each in found)
    facts = {"well": not faults, "services": found}
    shown: list[RenderableType] = [_services(found)]
    shown += _sentences(found)
    end = "[green]OK[/]" if not faults else f"[yellow]{faults} to look at[/]"
    return Answer(facts, [*shown, end], LOOK if faults else WELL)


async def statuses(installation: Installation, kafka: Kafka) -> list[ServiceStatus]:
    """Of all services, asked at the same time as far as that is allowed."""
    found = [ServiceStatus(name) for name in SERVICES]
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        await asyncio.gather(
            _broker(installation, kafka, found),
            *(asked(each, "HTTP", lambda s: _http(installation, http, s)) for each in found),
            *(asked(each, "the database", lambda s: _stored(installation, s)) for each in found),
        )
    return found


async def asked(
    each: ServiceStatus, part: str, ask: Callable[[ServiceStatus], Awaitable[None]]
) -> None:
    try:
        await ask(each)
    except (BusError, Unavailable, Unstorable, TimeoutError, httpx.HTTPError) as error:
        each.look.append(f"{part} does not answer ({str(error) or type(error).__name__})")


async def _http(installation: Installation, http: httpx.AsyncClient, each: ServiceStatus) -> None:
    urls = await installation.replicas(each.service)
    if not urls:
        return
    each.replicas = await asyncio.gather(*(_replica(http, url) for url in urls))
    ready, total = sum(r.serves == "ready" for r in each.replicas), len(urls)
    each.serves = each.replicas[0].serves if total == 1 else f"{ready} of {total} ready"
    known = [r.consumer_stopped for r in each.replicas if r.consumer_stopped is not None]
    each.consumer_stopped = any(known) if known else None
    for r in each.replicas:
        where = "" if total == 1 else f"{r.url}: "
        each.look += [f"{where}{look}" for look in r.look]


async def _replica(http: httpx.AsyncClient, url: str) -> Replica:
    found = Replica(url)
    try:
        answer = await http.get(f"{url}/readyz")
        found.serves = "ready" if answer.status_code == 200 else "not ready"
        if answer.status_code != 200:
            found.look.append(f"not ready: {answer.text[:200]}")
        found.consumer_stopped = await consumer_stopped(http, url)
    except httpx.HTTPError as error:
        found.look.append(f"HTTP does not answer ({str(error) or type(error).__name__})")
    if found.consumer_stopped:
        found.look.append("its consumer has stopped: rejects flooded in; see `lianxin dlq list`")
    return found


async def consumer_stopped(http: httpx.AsyncClient, url: str) -> bool:
    """Whether rejects have flooded in, as the service says itself."""
    return bool(_STOPPED.search((await http.get(f"{url}/metrics")).text))


async def _stored(installation: Installation, each: ServiceStatus) -> None:
    database, clock = installation.database(each.service), installation.ports.clock
    outbox, timers, now = database.raw(OUTBOX), database.raw(TIMERS), clock.now()
    each.outbox_rows = await database.size(outbox)
    oldest = await database.find_rows(outbox, {}, sort=(("at", 1),), limit=1, fields=("at",))
    each.outbox_oldest = now - oldest[0]["at"] if oldest else None
    each.timers = await database.size(timers)
    due = {"next": {"$lte": now - WAITS_LONG}}
    each.timers_late = await database.count_rows(timers, due)
    first = await database.find_rows(timers, due, sort=(("next", 1),), limit=1, fields=("next",))
    each.timers_latest = now - first[0]["next"] if first else None
    each.owned = await owned(database, clock)
    if not each.owned:
        each.look.append("nobody owns its lease, so nothing is sent and no timer fires")
    if each.outbox_oldest is not None and each.outbox_oldest > WAITS_LONG:
        each.look.append(
            f"{each.outbox_rows} events wait in its outbox, the oldest for"
            f" {duration(each.outbox_oldest)}; see `lianxin outbox {each.service}`"
        )
    if each.timers_latest is not None:
        each.look.append(
            f"{each.timers_late} timers are late, by up to {duration(each.timers_latest)}"
        )


async def owned(database: Database, clock: Clock) -> bool:
    """Whether somebody renews the service's lease now."""
    before = await _beat(database)
    for _ in range(20):
        await clock.sleep(OWNER_SECONDS / 20)
        if await _beat(database) not in (0, before):  # 0: nobody's
            return True
    return False


async def _beat(database: Database) -> int:
    rows = await database.find_rows(database.raw(LEASES), {"_id": "owner"})
    return int(rows[0]["beat"]) if rows and rows[0]["owner"] else 0


async def _broker(installation: Installation, kafka: Kafka, found: list[ServiceStatus]) -> None:
    for each in found:  # one after another: there is one connection
        await asked(each, "Kafka", lambda s: read(installation, kafka, s))


async def read(installation: Installation, kafka: Kafka, each: ServiceStatus) -> None:
    each.group = installation.group(each.service)
    topics, now = installation.spec(each.service).topics, installation.ports.clock.now()
    if topics:
        each.members = (await kafka.group(each.group)).members
        await _lag(kafka, each, await kafka.places([*topics, replay_topic(each.group)]), now)
        if each.members == 0:
            each.look.append(f"nobody reads its topics: the group {each.group} has no member")
        if each.lag_oldest is not None and each.lag_oldest > WAITS_LONG:
            most = max(each.lag, key=lambda topic: each.lag[topic])
            each.look.append(
                f"{sum(each.lag.values())} events wait to be read, most on {most}, the oldest for"
                f" {duration(each.lag_oldest)}"
            )
    ends = await kafka.ends(await kafka.places([f"{each.group}.dlq"]))
    each.dead_letters = sum(end - first for first, end in ends.values())
    last = {place: end - 1 for place, (first, end) in ends.items() if end > first}
    each.newest_dead_letter = max((await times(kafka, last)).values(), default=None)
    if each.newest_dead_letter is not None and now - each.newest_dead_letter < LETTER_IS_NEW:
        ago = duration(now - each.newest_dead_letter)
        each.look.append(f"a dead letter came {ago} ago; see `lianxin dlq list {each.service}`")


async def _lag(kafka: Kafka, each: ServiceStatus, places: list[Place], now: datetime) -> None:
    committed, ends = await kafka.committed(each.group), await kafka.ends(places)
    begins = {p: max(committed.get(p, 0), first) for p, (first, _) in ends.items()}
    waiting = {p: at for p, at in begins.items() if at < ends[p][1]}
    for place, at in waiting.items():
        each.lag[place[0]] = each.lag.get(place[0], 0) + ends[place][1] - at
    oldest = await times(kafka, waiting)
    each.lag_oldest = now - min(oldest.values()) if oldest else None


async def times(kafka: Kafka, offsets: Mapping[Place, int]) -> dict[Place, datetime]:
    """When the record at each offset was written."""
    found: dict[Place, datetime] = {}
    async for record in kafka.records({p: (at, at + 1) for p, at in offsets.items()}):
        place = (record.topic, record.partition)
        found[place] = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return found


def _sentences(found: list[ServiceStatus]) -> list[str]:
    """What to look at; what is so of all services is said once."""
    whose: dict[str, list[str]] = {}
    for each in found:
        for sentence in each.look:
            whose.setdefault(sentence, []).append(each.service)
    return [
        f"[yellow]{'all' if len(names) == len(found) else ', '.join(names)}[/]: {escape(sentence)}"
        for sentence, names in whose.items()
    ]


def _services(found: list[ServiceStatus]) -> Table:
    return table(
        "Services",
        _COLUMNS,
        (
            (
                s.service,
                s.serves,
                None if s.owned is None else ("yes" if s.owned else "[yellow]nobody[/]"),
                s.outbox_rows,
                s.outbox_oldest,
                s.timers,
                s.timers_late,
                s.members,
                sum(s.lag.values()),
                s.lag_oldest,
                s.dead_letters,
                s.newest_dead_letter,
                "[yellow]look[/]" if s.look else "[green]OK[/]",
            )
            for s in found
        ),
    )
