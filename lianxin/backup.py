"""How does an operator back up the databases, verify a backup, and restore one?

Nothing is ever deleted or written over: a restore wants an empty database. The keys that seal
personal data are not part of it and are kept elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import RenderableType
from rich.table import Table

from lianxin import asked, trail
from lianxin.backup_copy import OF_THE_MOMENT, bring_back, copy_out
from lianxin.backup_files import (
    MANIFEST,
    Damaged,
    Manifest,
    verify,
)
from lianxin.installation import SERVICES, Installation
from lianxin.output import (
    AWAY,
    LOOK,
    WELL,
    Answer,
    Failed,
    Json,
    command,
    table,
    wrong_settings,
)
from libs.common.audit import Outcome
from libs.common.migrate import migrate
from libs.common.mongo.copy import TookTooLong
from libs.common.mongo.database import Database

app = typer.Typer(no_args_is_help=True, help="Copy the databases out, and bring them back.")

Folder = Annotated[Path, typer.Argument(help="One service's folder of a backup.")]
Really = Annotated[bool, typer.Option("--apply", help="Do it, instead of showing it.")]


@app.command("create")
@command
async def create(
    into: Annotated[Path, typer.Argument(help="A folder; it is made, one below it for each time.")],
    service: Annotated[
        list[str] | None, typer.Option(help="This one; may be given again. All if absent.")
    ] = None,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Copy each service's database as it stands, note where it reads on, and verify the copy."""
    installation = Installation.of_environment()
    wanted, who = (
        [installation.service(name) for name in service or SERVICES],
        asked.named(operator),
    )
    made = into / f"{installation.ports.clock.now():%Y-%m-%dT%H-%M-%SZ}"
    done: list[Manifest] = []
    async with installation.open() as kafka:
        for name in wanted:
            try:
                done.append(await copy_out(installation, kafka, name, made, who, silent=json))
            except TookTooLong:
                raise Failed(
                    f"{name}: the database no longer keeps the moment that was being read. Let it"
                    " keep it for longer (setParameter minSnapshotHistoryWindowInSeconds, 300 by"
                    " default), or use your operator's own backup.",
                    AWAY,
                ) from None
            except OSError as error:
                raise Failed(f"{error.filename or made}: {error.strerror}.") from None
            except Damaged as error:
                raise Failed(
                    f"{error}: what was written is not what is read. Is the disk sound? Back up to"
                    " another.",
                    LOOK,
                ) from None
    shown: list[RenderableType] = [
        _table(done),
        f"Written and read again: {made}",
        "The keys of CIPHER_KEYS_DIR are not in it: keep them apart, or it can't be opened.",
    ]
    return Answer({"folder": made, "services": done}, shown, WELL)


def _table(manifests: Sequence[Manifest]) -> Table:
    return table(
        "",
        ("service", "as of", "#collections", "#documents", "#bytes", "#partitions noted"),
        (
            (
                m.service,
                m.at,
                len(m.collections),
                sum(c.documents for c in m.collections.values()),
                sum(c.size for c in m.collections.values()),
                len(m.offsets),
            )
            for m in manifests
        ),
    )


@app.command("verify")
@command
async def verify_backup(
    folder: Annotated[Path, typer.Argument(help="A backup, or one service's folder of it.")],
    json: Json = False,
) -> Answer:
    """Read a backup again: every document is there, and as it was written."""
    folders = [folder] if (folder / MANIFEST).exists() else sorted(
        child for child in folder.glob("*") if (child / MANIFEST).exists()
    )  # fmt: skip
    if not folders:
        raise Failed(f"{folder} is no backup: there is no {MANIFEST} in it or below it.")
    partial = sorted(path.name for path in folder.glob(".*.partial"))
    try:
        found = [await asyncio.to_thread(verify, each) for each in folders]
    except Damaged as error:
        raise Failed(f"{error}. Restore from another backup.", LOOK) from None
    shown: list[RenderableType] = [_table(found), *(f"Not finished: {name}" for name in partial)]
    return Answer({"services": found, "partial": partial}, shown, LOOK if partial else WELL)


@app.command("restore")
@command
async def restore(
    folder: Folder,
    into: Annotated[
        str, typer.Option(help="An empty database; the service's own name, or another to look at.")
    ],
    really: Really = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Bring a service's database back into an empty one. Shows it; does it with --apply."""
    installation, who = Installation.of_environment(), asked.named(operator)
    try:
        manifest = await asyncio.to_thread(verify, folder)
    except Damaged as error:
        raise Failed(f"{error}. Restore from another backup.", LOOK) from None
    spec, settings = installation.spec(manifest.service), installation.settings
    try:  # before anything is written: indexes come last, and need them
        lives = spec.lives(spec.settings(**settings.model_dump(include={"mongo_url"})))
    except ValidationError as error:
        raise wrong_settings(error) from None
    database = Database(settings.mongo_url, into, credentials=settings.mongo_credentials)
    try:
        there = {
            name: size
            for name in sorted(await database.collection_names() - OF_THE_MOMENT)
            if (size := await database.size(database.raw(name)))
        }
        if there:
            full = ", ".join(f"{size} in {name}" for name, size in there.items())
            raise Failed(
                f"{into} is not empty ({full}). Stop {manifest.service}, and drop that database"
                " yourself if its content is worthless; or name another with --into."
            )
        if really:
            said = _said(who, folder, manifest, into)
            async with installation.open(), AsyncExitStack() as recording:
                own = installation.database(manifest.service)
                if into != own.name and await own.collection_names():  # else it has no trail
                    begun = trail.recorded(installation.ports, own, **said)
                    await recording.enter_async_context(begun)
                await bring_back(database, folder, manifest, silent=json)
                await migrate(database, spec.collections, lives, spec.buckets)
                await trail.record(installation.ports, database, outcome=Outcome.SUCCESS, **said)
    finally:
        await database.close()
    did = "was brought back into" if really else "can be brought back into"
    shown: list[RenderableType] = [
        _table([manifest]),
        f"This {did} {into}" + (", and read again." if really else ": with --apply."),
    ]
    if into == manifest.database:
        shown.append(
            f"Before {manifest.service} starts: `lianxin backup rewind {folder} --apply`, so that"
            " it takes again what came since."
        )
    return Answer({"into": into, "applied": really, "backup": manifest}, shown, WELL)


def _said(who: str, folder: Path, manifest: Manifest, into: str) -> dict[str, Any]:
    """Of a restore, to the trail."""
    return {
        "operator": who,
        "what": "backup restore",
        "kind": "restore",
        "action": "C",
        "entities": {trail.EVERY_HOSPITAL: [f"{folder} of {manifest.at.isoformat()}", into]},
    }
