"""What was set aside, why, and how is it handled after all?

``list`` says of each dead letter whether its event waits or was settled since; ``show`` shows one,
what is personal in it only with --reveal; ``replay`` has its consumer read it again. A replay is a
late arrival: rules compare when things happened, and what is settled already changes nothing.
"""

from __future__ import annotations

import json as json_module
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.markup import escape

from lianxin import asked, trail
from lianxin.installation import SERVICES, Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, plain, table
from lianxin.records import NAMES, Letter, headers, letter, said, settle
from lianxin.sending import Choice, Sent, send_again, sentences
from libs.common.audit import Outcome
from libs.common.kafka.admin import Kafka
from libs.common.kafka.record import Record

#: Of a list, unless asked for more.
SHOWN: Final = 50

app = typer.Typer(no_args_is_help=True, help="Dead letters: what was set aside.")

Services = Annotated[list[str] | None, typer.Argument(help="Services; all if none is named.")]
Service = Annotated[str, typer.Argument(help="The service that set it aside.")]
Which = Annotated[
    list[str] | None,
    typer.Argument(help="Offsets (7, or 2-7 in partition 2) or ids of events; all if none."),
]
Reason = Annotated[str | None, typer.Option("--reason", help="Set aside for this reason only.")]
All = Annotated[bool, typer.Option("--all", help="Also what was settled since.")]


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; what is ``None`` does not matter."""

    which: Sequence[str] = ()
    type: str | None = None
    reason: str | None = None
    source: str | None = None
    hospital: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, each: Letter) -> bool:
        names = {each.place, f"{each.partition}-{each.offset}", each.event.id}
        return (
            (not self.which or any(w in names for w in self.which))
            and self.type in (None, each.event.type)
            and self.reason in (None, each.reason)
            and self.source in (None, each.event.source)
            and self.hospital in (None, each.event.hospital)
            and (self.until is None or each.set_aside_at < self.until)
        )


async def letters(
    installation: Installation, kafka: Kafka, service: str, chosen: Filter
) -> list[Letter]:
    """The oldest first; what was set aside more than once is listed where it was last."""
    topic = f"{installation.group(service)}.dlq"
    places = await kafka.places([topic])
    if not places:
        raise Failed(f"The topic {topic} does not exist: `lianxin topics apply` makes it.")
    ends = await kafka.ends(places)
    begins = {place: first for place, (first, _) in ends.items()}
    if chosen.since is not None:
        begins = await kafka.offsets_at(places, chosen.since)
    found: dict[tuple[Any, ...], Letter] = {}
    async for record in kafka.records({p: (begins[p], ends[p][1]) for p in places}):
        each = letter(service, record)
        if chosen.takes(each):
            before = found.pop((each.first_stood, each.hash), None)
            each.times += before.times if before is not None else 0
            found[(each.first_stood, each.hash)] = each
    await settle(installation.database(service), found.values())
    return sorted(found.values(), key=lambda each: (each.set_aside_at, each.offset))


@app.command("list")
@command
async def list_letters(
    services: Services = None,
    *,
    type: asked.Type = None,
    reason: Reason = None,
    source: asked.Source = None,
    hospital: asked.Hospital = None,
    since: asked.Since = None,
    until: asked.Until = None,
    all: All = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = SHOWN,
    json: Json = False,
) -> Answer:
    """What was set aside and waits; with --all also what was settled since."""
    installation = Installation.of_environment()
    names = [installation.service(name) for name in services or SERVICES]
    chosen = Filter((), type, reason, source, hospital, *_times(installation, since, until))
    async with installation.open() as kafka:
        found = [x for name in names for x in await letters(installation, kafka, name, chosen)]
    wanted = [each for each in found if all or each.state != "settled"]
    wanted = sorted(wanted, key=lambda each: each.set_aside_at)
    settled = sum(each.state == "settled" for each in found)
    shown: list[RenderableType] = [_table(wanted[-limit:])] if wanted else []
    if len(wanted) > limit:
        shown.append(f"… and {len(wanted) - limit} older ones: --limit, or fewer by a filter.")
    waiting = sum(each.state != "settled" for each in found)
    shown.append(f"{waiting} wait, {settled} were settled since{'' if all else ' (--all)'}.")
    facts = {
        "waiting": waiting,
        "settled": settled,
        "letters": [x.facts() for x in wanted[-limit:]],
    }
    return Answer(facts, shown, LOOK if waiting else WELL)


@app.command("show")
@command
async def show(
    service: Service,
    which: Annotated[str, typer.Argument(help="Its offset (7, or 2-7), or its event's id.")],
    *,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also what may be personal; that is audited.")
    ] = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """One dead letter; its key, subject and body only with --reveal."""
    installation = Installation.of_environment()
    installation.service(service)
    who = asked.named(operator) if reveal else ""
    async with installation.open() as kafka:
        found = await letters(installation, kafka, service, Filter((which,)))
        if not found:
            raise Failed(
                f"{service} has no dead letter {which!r}: see `lianxin dlq list {service}`."
            )
        each = found[-1]
        place = (f"{installation.group(service)}.dlq", each.partition)
        (record,) = [r async for r in kafka.records({place: (each.offset, each.offset + 1)})]
        facts = each.facts()
        facts["headers"] = shown_headers(record, reveal=reveal)
        if reveal:
            patient = _patient(installation, each, record.key)
            await trail.record(
                installation.ports,
                installation.database(service),
                operator=who,
                what="dlq show",
                kind="access",
                action="R",
                outcome=Outcome.SUCCESS,
                patient=patient,
                entities={each.event.hospital or "": [f"{place[0]}/{place[1]}/{each.offset}"]},
            )
            facts["key"] = said(record.key)
            facts["subject"] = said(headers(record).get("ce_subject"))
            facts["body"] = _body(record.value)
    if not reveal:
        facts["hidden"] = "key, subject, body, other headers: --reveal shows them, and is audited"
    lines = json_module.dumps(facts, default=plain, ensure_ascii=False, indent=2)
    return Answer(facts, [escape(lines)])


def shown_headers(record: Record, *, reveal: bool) -> dict[str, str | None]:
    return {name: said(v) for name, v in record.headers if reveal or name in NAMES}


@app.command("replay")
@command
async def replay(
    service: Service,
    which: Which = None,
    *,
    type: asked.Type = None,
    reason: Reason = None,
    source: asked.Source = None,
    hospital: asked.Hospital = None,
    since: asked.Since = None,
    until: asked.Until = None,
    rate: asked.Rate = 50,
    all: All = False,
    apply: asked.Apply = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Have the service handle dead letters again: first mend what they were set aside for.

    They keep their ids, so one that was handled since changes nothing."""
    installation = Installation.of_environment()
    installation.service(service)
    times = _times(installation, since, until)
    chosen = Filter(which or (), type, reason, source, hospital, *times)
    who = asked.named(operator)
    async with installation.open() as kafka:
        found = await letters(installation, kafka, service, chosen)
        if which and not found:
            raise _no_such(service, *which)
        wanted = [x for x in found if x.state == "waiting" or (all and x.state == "settled")]
        skipped = Counter(x.state for x in found if x not in wanted)
        sent: Sent | None = None
        if apply and wanted:
            topic = f"{installation.group(service)}.dlq"
            choice = Choice(
                service,
                {(topic, x.partition, x.offset): x.event for x in wanted},
                command="dlq replay",
                operator=who,
                rate=rate,
            )
            sent = await send_again(installation, kafka, choice)
    facts = {
        "applied": sent is not None,
        "chosen": [x.facts() for x in wanted],
        "skipped": skipped,
        "sent": sent,
    }
    shown: list[RenderableType] = [_table(wanted[-SHOWN:])] if wanted and sent is None else []
    shown += [f"{count} are left out: {_why(state)}." for state, count in skipped.items()]
    if sent is None:
        again = "; --apply sends them" if wanted else ""
        shown.append(f"{len(wanted)} dead letters would be handled again{again}.")
        return Answer(facts, shown)
    return Answer(facts, [*shown, *sentences(sent, service)], WELL if sent.well else LOOK)


def _no_such(service: str, *which: str) -> Failed:
    which_one = " or ".join(which)
    return Failed(f"{service} has no dead letter {which_one}: `lianxin dlq list {service} --all`.")


def _times(
    installation: Installation, since: str | None, until: str | None
) -> tuple[datetime | None, datetime | None]:
    now, zone = installation.ports.clock.now(), installation.settings.hospital_time_zone
    return asked.moment(since, "--from", now, zone), asked.moment(until, "--to", now, zone)


def _why(state: str) -> str:
    return {
        "settled": "they were handled since (--all sends them all the same; they change nothing)",
        "other body": "their ids belong to other events, which were handled: the publisher must"
        " send them under ids of their own",
        "no record": "only their places are known; `lianxin dlq show` says where they stand",
    }[state]


def _table(found: Sequence[Letter]) -> RenderableType:
    return table(
        "Dead letters",
        ("service", "#offset", "set aside", "reason", "detail", "type", "source", "id", "state"),
        (
            (
                x.service,
                x.place,
                x.set_aside_at,
                escape(x.reason),
                escape(x.detail),
                escape(x.event.type or "-"),
                escape(x.event.source or "-"),
                escape(x.event.id or "-"),
                x.state if x.times == 1 else f"{x.state} ({x.times} times)",
            )
            for x in found
        ),
    )


def _patient(installation: Installation, each: Letter, key: bytes | None) -> str:
    """Whom the record concerns, as far as its key tells."""
    topic = installation.topics.get(each.first_stood.topic)
    if topic is None or topic.key != "patient_id" or key is None:
        return ""
    return key.decode("utf-8", "replace").partition("/")[2]


def _body(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return json_module.loads(value)
    except ValueError:
        return value.decode("utf-8", "backslashreplace")
