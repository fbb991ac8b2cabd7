"""From where does a service read on whose database was put back?

From where its backup stood, as the backup noted it, or from a time, for the cluster's own backup,
which notes nothing. Too early costs time and nothing else: the inbox knows what it has handled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from lianxin import asked, trail
from lianxin.backup_files import Damaged, manifest_of
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.cluster import cluster


@command
async def rewind(
    folder: Annotated[Path | None, typer.Argument(help="One service's folder of a backup.")] = None,
    service: Annotated[
        str | None, typer.Option(help="Instead of a folder: this one, to the time of --from.")
    ] = None,
    since: asked.Since = None,
    apply: asked.Apply = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Let a service that was restored read on from where its backup stood. It must be stopped."""
    installation, who = Installation.of_environment(), asked.named(operator)
    async with installation.open() as kafka:
        committed: dict[Place, int]
        if folder is not None and service is None and since is None:
            service, group, noted = _noted(folder)
            committed = await kafka.committed(group)
        elif folder is None and service is not None and since is not None:
            group = installation.group(installation.service(service))
            committed = await kafka.committed(group)
            if not committed:
                raise Failed(f"{group} stands nowhere yet: it will read all that is kept.")
            noted = await _at(installation, kafka, committed, since)
        else:
            raise Failed("Give a backup's folder, or --service and --from.")
        ends = await kafka.ends(await kafka.places({topic for topic, _ in noted}))
    wanted = back_to(noted, committed, ends)
    rows = [
        (*place, committed.get(place), offset, _remark(noted.get(place), offset, ends[place][0]))
        for place, offset in wanted.items()
    ]
    shown: list[RenderableType] = [
        table(group, ("topic", "#partition", "#stands at", "#goes back to", ""), rows)
    ]
    if apply:
        async with installation.open(), cluster(installation.broker) as at:
            state = await at.group(group)
            if state is None or state.members:
                members = "can't be seen" if state is None else f"has members ({state.members})"
                raise Failed(f"{group} {members}: stop {service} first.")
            recording = trail.recorded(
                installation.ports,
                installation.database(service),
                operator=who,
                what="backup rewind",
                kind="restore",
                action="E",
                entities={trail.EVERY_HOSPITAL: [f"{t}/{p}/{o}" for (t, p), o in wanted.items()]},
            )
            async with recording:
                await at.set_committed(group, wanted)
        shown.append(f"Done. Start {service}.")
    else:
        shown.append("Nothing was done yet: with --apply.")
    facts = {
        "group": group,
        "applied": apply,
        "offsets": [(*place, offset) for place, offset in wanted.items()],
    }
    return Answer(facts, shown, WELL)


def _noted(folder: Path) -> tuple[str, str, dict[Place, int]]:
    """The service, its group, and where the backup says that this stood."""
    try:
        manifest = manifest_of(folder)
    except Damaged as error:
        raise Failed(f"{error}.", LOOK) from None
    noted = {(o.topic, o.partition): o.offset for o in manifest.offsets}
    return manifest.service, manifest.group, noted


async def _at(
    installation: Installation, kafka: Kafka, committed: dict[Place, int], since: str
) -> dict[Place, int]:
    """The first record of that time or later, and never one that the group has not reached."""
    now, zone = installation.ports.clock.now(), installation.settings.hospital_time_zone
    time = asked.moment(since, "--from", now, zone)
    assert time is not None
    if time > now:
        raise Failed("--from must not lie in the future.")
    found = await kafka.offsets_at(sorted(committed), time)
    return {place: min(at, committed[place]) for place, at in found.items()}


def back_to(
    noted: Mapping[Place, int],
    committed: Mapping[Place, int],
    ends: Mapping[Place, tuple[int, int]],
) -> dict[Place, int]:
    """Where the group goes on. Never further on than it stands, which would pass events over: a
    topic that was made anew since counts from 0 again, and is read from its beginning as is a
    partition that has come since; what was handled already changes nothing."""
    return {
        place: at if (at := noted.get(place, first)) <= committed.get(place, end) else first
        for place, (first, end) in ends.items()
    }


def _remark(noted: int | None, offset: int, first: int) -> str:
    """What the topic has forgotten since, or that it is another one."""
    if noted is not None and noted != offset:
        return "made anew since the backup: from its beginning"
    return f"{first - offset} records before {first} are gone" if first > offset else ""
