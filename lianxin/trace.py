"""Where is this event now? The tree that ``lianxin trace`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.tree import Tree

from lianxin import asked
from lianxin.following import Following
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, duration, text
from lianxin.search import Search, horizon
from lianxin.whereabouts import Reading, Whereabouts
from libs.common.migrate import INBOX_DAYS

#: Records that one search reads at most, unless asked for more: half a minute or so.
MOST: Final = 500_000
STEPS: Final = 4


@command
async def trace(
    event: Annotated[str, typer.Argument(help="The event's id (ce_id).")],
    *,
    source: asked.Source = None,
    hospital: asked.Hospital = None,
    since: asked.Since = None,
    steps: Annotated[int, typer.Option(min=0, max=10, help="How far to follow.")] = STEPS,
    most: Annotated[int, typer.Option("--records", min=1, help="Records to read at most.")] = MOST,
    json: Json = False,
) -> Answer:
    """Where an event is now, and what has become of it.

    Its topic is searched since yesterday, or --from; with --hospital and --source it is found at
    once."""
    if not event.strip():
        raise Failed("Say the event's id.")
    installation = Installation.of_environment()
    zone = installation.settings.hospital_time_zone
    clock = installation.ports.clock
    begin = horizon(clock, asked.moment(since, "--from", clock.now(), zone))
    async with installation.open() as kafka:
        search = Search(installation, kafka, most)
        found = await search.find(event, source, hospital, begin)
        if not found:
            more = "some records were not looked at: --records; or " if search.cut else ""
            raise Failed(
                f"No outbox and no topic since {text(begin)} holds the event {event}: {more}"
                "say an earlier --from; with --hospital and --source the inboxes are asked, which"
                f" remember {INBOX_DAYS} days. If it is nowhere, its publisher did not send it.",
                LOOK,
            )
        await Following(search).follow(found, steps)
    facts = {
        "events": found,
        "complete": not search.cut,
        "traces": {
            w.event.trace_id: installation.trace_url(w.event.trace_id)
            for w in found
            if w.event.trace_id is not None
        },
    }
    shown: list[RenderableType] = [_tree(each, installation) for each in found]
    for each in found:
        url = installation.trace_url(each.event.trace_id) if each.event.trace_id else None
        if url is not None:
            shown.append(f"Its trace: {url}")
    if search.cut:
        shown.append(f"[yellow]Only {search.looked} records were looked at[/]; --records for more.")
    return Answer(facts, shown, LOOK if stuck(found) else WELL)


def stuck(found: Sequence[Whereabouts]) -> bool:
    """Whether one of them, or of what they led to, waits or was set aside."""
    return any(
        each.outbox is not None
        or any(r.state in ("set aside", "not reached", "no trace") for r in each.readings)
        or stuck(each.effects)
        for each in found
    )


def _tree(each: Whereabouts, installation: Installation) -> Tree:
    event = each.event
    tree = Tree(
        f"[bold]{escape(event.type or 'an event')}[/] {escape(event.id or '?')}"
        f" of {escape(event.source or '?')}, hospital {escape(event.hospital or '?')}"
        + (f", {event.time}" if event.time else "")
    )
    _add(tree, each, installation)
    return tree


def _add(tree: Tree, each: Whereabouts, installation: Installation) -> None:
    if each.outbox is not None and each.waits_since is not None:
        waits = duration(installation.ports.clock.now() - each.waits_since)
        tree.add(
            f"[yellow]in the outbox of {each.outbox}[/] for {waits}, not on its topic yet; see"
            f" `lianxin outbox {each.outbox}`"
        )
    if each.place is not None:
        written = f", written {text(each.written_at)}" if each.place.timestamp else ""
        tree.add(f"on {each.place.topic}/{each.place.partition}/{each.place.offset}{written}")
    for reading in each.readings:
        branch = tree.add(_sentence(reading))
        for effect in each.effects:
            if effect.event.source == f"/services/{reading.service}":
                e = effect.event
                leaf = branch.add(f"→ [bold]{escape(e.type or '?')}[/] {escape(e.id or '?')}")
                _add(leaf, effect, installation)
    if each.more_effects:
        tree.add(f"… and {each.more_effects} more effects")
    if each.notification is not None:
        told = each.notification
        branch = tree.add(f"notification {told['id']}: {told['status']}{_because(told['reason'])}")
        for d in told["deliveries"]:
            next_at = d["next_attempt_at"]
            again = f", next {text(next_at)}" if next_at is not None else ""
            branch.add(
                f"{d['channel']}: {d['status']}, attempt {d['attempt']}"
                f"{_because(d['reason'] or d['code'])}{again}"
            )


def _because(reason: object) -> str:
    return f" ({escape(str(reason))})" if reason else ""


def _sentence(reading: Reading) -> str:
    who, note = f"{reading.service}: ", _because(reading.note)
    when = f" {text(reading.at)}" if reading.at is not None else ""
    if reading.state == "not reached":
        why = f", {reading.behind} records before it{note}"
        if not reading.members:
            why += "; nobody reads for it now: is the service running?"
        return f"{who}[yellow]not reached yet[/]{why}"
    if reading.state == "set aside":
        offsets = ", ".join(map(str, reading.dead_letters)) or "?"
        return (
            f"{who}[yellow]set aside[/]{when}{note}: dead letter {offsets}; see `lianxin dlq show"
            f" {reading.service} {offsets.split(', ')[-1]}`"
        )
    colour = {"handled": "green", "refused": "green", "ignored": "dim"}.get(reading.state, "yellow")
    return f"{who}[{colour}]{reading.state}[/]{when}{note}"
