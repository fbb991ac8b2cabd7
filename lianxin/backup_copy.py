"""How is what a database holds copied out, and brought back so that nothing is lost or doubled?

A service's database at one moment, by the database's own driver. The consumer group's position
is noted before anything is read, so that it can only be too early: what is delivered again is
known to the restored inbox.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lianxin import trail
from lianxin.backup_files import (
    MANIFEST,
    Collected,
    Digest,
    Manifest,
    Offset,
    documents,
    file_of,
    verify,
)
from lianxin.installation import Installation
from lianxin.output import AWAY, Failed, console
from libs.common.kafka.admin import Kafka, Place
from libs.common.lease import LEASES
from libs.common.mongo.copy import PAGE, Copy, as_it_stands, put
from libs.common.mongo.database import Database
from libs.common.relay import WAKE

#: Who is running now, which is nothing to bring back.
OF_THE_MOMENT: Final = frozenset({LEASES, WAKE})


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
    names = sorted(await database.collection_names() - OF_THE_MOMENT)
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


async def bring_back(database: Database, folder: Path, manifest: Manifest, *, silent: bool) -> None:
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
