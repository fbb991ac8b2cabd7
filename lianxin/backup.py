"""How is what the databases hold copied out, and brought back so that nothing is lost or doubled?

Each service's database at one moment, by the database's own driver. The consumer group's position
is noted before anything is read, so that it can only be too early: what is delivered again is
known to the restored inbox. Nothing is ever deleted or written over: a restore wants an empty
database. The keys that seal personal data are not part of it and are kept elsewhere.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lianxin import asked, trail
from lianxin.backup_files import (
    MANIFEST,
    Collected,
    Damaged,
    Digest,
    Manifest,
    Offset,
    documents,
    file_of,
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
    console,
    table,
    wrong_settings,
)
from libs.common.audit import Outcome
from libs.common.kafka.admin import Kafka, Place
from libs.common.lease import LEASES
from libs.common.migrate import migrate
from libs.common.mongo.copy import PAGE, Copy, TookTooLong, as_it_stands, put
from libs.common.mongo.database import Database
from libs.common.relay import WAKE

app = typer.Typer(no_args_is_help=True, help="Copy the databases out, and bring them back.")

#: Who is running now, which is nothing to bring back.
_OF_THE_MOMENT: Final = frozenset({LEASES, WAKE})
Folder = Annotated[Path, typer.Argument(help="One service's folder of a backup.")]
Really = Annotated[bool, typer.Option("--apply", help="Do it, instead of showing it.")]


@contextmanager
def _bar(what: str, total: int, *, silent: bool) -> Iterator[Progress]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, disable=silent or not out.is_terminal) as progress:
        progress.add_task(what, total=total)
        yield progress


async def copy_out(
    installation: Installation, kafka: Kafka, service: str, into: Path, who: str, *, silent: bool
) -> Manifest:
    """Write and read again; only then has the folder its name."""
    database = installation.database(service)
    await database.ping()
    recording = trail.recorded(
        installation.ports,
        database,
        operator=who,
        what="backup create",
        kind="archive",
        action="R",
        entities={trail.EVERY_HOSPITAL: [str(into / service)]},
    )
    async with recording:
        return await _copied(installation, kafka, service, into, silent=silent)


async def _copied(
    installation: Installation, kafka: Kafka, service: str, into: Path, *, silent: bool
) -> Manifest:
    database, group = installation.database(service), installation.group(service)
    # First: whatever is handled from here on is delivered again after a restore, at worst.
    positions = await _positions(installation, kafka, service)
    at = installation.ports.clock.now()
    names = sorted(await database.collection_names() - _OF_THE_MOMENT)
    names = [name for name in names if not name.startswith("system.")]
    total = sum([await database.size(database.raw(name)) for name in names])
    draft = into / f".{service}.partial"
    draft.mkdir(parents=True, mode=0o700)
    collected: dict[str, Collected] = {}
    with _bar(service, total, silent=silent) as progress:
        async with as_it_stands(database) as copy:
            for name in names:
                digest = Digest()
                with _new(file_of(draft, name)) as file:
                    async for document in copy.documents(name):
                        file.write(document)
                        digest.add(document)
                        progress.advance(progress.task_ids[0])
                collected[name] = digest.made()
    manifest = Manifest(
        service=service,
        database=database.name,
        group=group,
        at=at,
        collections=collected,
        offsets=[Offset(topic=t, partition=p, offset=o) for (t, p), o in sorted(positions.items())],
    )
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")
    await asyncio.to_thread(verify, draft)
    draft.rename(into / service)
    return manifest


async def _positions(installation: Installation, kafka: Kafka, service: str) -> dict[Place, int]:
    """Where the service reads on, in each partition of its topics: where it has committed, or
    else at the first record that is kept."""
    committed = await kafka.committed(installation.group(service))
    topics = {*installation.spec(service).topics, *(topic for topic, _ in committed)}
    places = await kafka.places(topics)
    first = await kafka.ends([place for place in places if place not in committed])
    return {place: committed[place] if place in committed else first[place][0] for place in places}


@contextmanager
def _new(path: Path) -> Iterator[gzip.GzipFile]:
    """A file for its owner alone: patients' data is in it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as under:
        with gzip.GzipFile(fileobj=under, mode="wb", compresslevel=6, mtime=0) as file:
            yield file
        under.flush()
        os.fsync(under.fileno())


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
            for name in sorted(await database.collection_names() - _OF_THE_MOMENT)
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
                await _bring_back(database, folder, manifest, silent=json)
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


async def _bring_back(
    database: Database, folder: Path, manifest: Manifest, *, silent: bool
) -> None:
    """Documents first, indexes afterwards: one with a time to live would begin to delete."""
    total = sum(c.documents for c in manifest.collections.values())
    with _bar(manifest.service, total, silent=silent) as progress:
        for name in manifest.collections:
            page, size = list[bytes](), 0
            for document in documents(file_of(folder, name)):
                page.append(document)
                size += len(document)
                if len(page) == PAGE or size > 12_000_000:
                    await put(database, name, page)
                    progress.advance(progress.task_ids[0], len(page))
                    page, size = [], 0
            if page:
                await put(database, name, page)
                progress.advance(progress.task_ids[0], len(page))
    # Of no one moment, which the server might not keep for as long as this takes: nobody else
    # writes there, or it is seen.
    copy = Copy(database)
    for name, wanted in manifest.collections.items():
        digest = Digest()
        async for document in copy.documents(name):
            digest.add(document)
        if digest.made() != wanted:
            raise Failed(
                f"{name}: {digest.documents} documents arrived of {wanted.documents}, or not as"
                f" they were: drop {database.name} and begin again.",
                AWAY,
            )
