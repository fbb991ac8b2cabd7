"""How is what is stored sealed with the key that is active now?

``python -m libs.common.reseal --to 2027 enrollment …`` beside the running services, after that
key was made active or an installation began to seal: ``migrate``'s sibling. A value is replaced
only if it is still the one that was read, so that nothing which is written meanwhile is lost. A
file beside the documents is stored anew before the older one goes. Each replica seals with what
its own mount calls active, and mounts follow one after another: so what is there is counted
afterwards. When nothing is left under another key, nothing needs it, and it ends with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from libs.common.blobs import BUCKET, READ_OUT, StoredBlobs
from libs.common.cipher import Place, sealed_fields
from libs.common.decision import Document
from libs.common.envelope import Envelope, key_of
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row, opened, sealed, unsealed
from libs.common.rows import OF_RULES, OUTBOX

_PAGE: Final = 200
_Specs = Iterable[CollectionSpec[Any]]


async def reseal(
    database: Database, specs: _Specs, buckets: Sequence[str] = (), *, read_out: float = READ_OUT
) -> int:
    """How many values were sealed anew. Raises ``ValueError`` if nothing seals."""
    if not isinstance(database.cipher, Envelope):
        raise ValueError("CIPHER_KEYS_DIR is not set")
    done = 0
    for name, fields in _sealed_in(specs).items():
        async for row in _rows(database, name, fields):
            done += sum([await _value(database, name, row, f) for f in fields & row.keys()])
    if BUCKET in buckets:
        done += await StoredBlobs(database).reseal(database.cipher, read_out)
    return done


async def keys_in_use(
    database: Database, specs: _Specs, buckets: Sequence[str] = (), *, most: int | None = None
) -> Counter[str]:
    """How many values need which key, by its name; ``""`` those that are not sealed. Those that
    only another release knows count, too: they stay sealed with the key that they have. With
    ``most`` no more than so many rows of each collection are looked at."""
    found = Counter[str]()
    for name, fields in _sealed_in(specs).items():
        async for row in _rows(database, name, (), most):
            found.update(key_of(v) for f, v in row.items()
                         if key_of(v) or (f in fields and v is not None))  # fmt: skip
    if BUCKET in buckets:
        found += await StoredBlobs(database).keys(most)
    return found


def _sealed_in(specs: _Specs) -> Mapping[str, frozenset[str]]:
    """The fields of each collection that are sealed: of documents, inbox, timers and outbox."""
    models: list[type[Document]] = [spec.model for spec in specs]
    found = {model.COLLECTION: sealed_fields(model) for model in models}
    found |= {collection: frozenset({field}) for field, collection in OF_RULES.items()}
    found[OUTBOX] = frozenset({"value"})
    return {name: fields for name, fields in found.items() if fields}


async def _rows(
    database: Database, name: str, fields: Collection[str], most: int | None = None
) -> AsyncIterator[Row]:
    raw, after, left = database.raw(name), "", most
    while left is None or left > 0:
        query: Row = {"_id": {"$gt": after}}
        limit = _PAGE if left is None else min(_PAGE, left)
        rows = await database.find_rows(
            raw, query, sort=(("_id", 1),), limit=limit, fields=sorted(fields)
        )
        for row in rows:
            yield row
        if len(rows) < limit:
            return
        after = rows[-1]["_id"]
        left = None if left is None else left - len(rows)


async def _value(database: Database, name: str, row: Row, field: str) -> bool:
    cipher, old = database.cipher, row[field]
    assert isinstance(cipher, Envelope)
    if old is None or key_of(old) == cipher.active:
        return False
    place = Place(name, row["_id"], field)
    if name == OUTBOX:
        new = cipher.seal(place, unsealed(old, place, cipher))
    else:
        new = sealed(opened(old, place, cipher), place, cipher)
    where = {"_id": row["_id"], field: old}
    return await database.update_row(database.raw(name), where, {"$set": {field: new}})


async def _of_service(name: str, to: str) -> Counter[str]:
    """What is left of it under other keys than ``to``."""
    spec = importlib.import_module(f"services.{name}.main").SPEC
    database = Database.of(spec.settings(), name)
    try:
        _refuse_other(database, to)
        done = await reseal(database, spec.collections, spec.buckets)
        left = await keys_in_use(database, spec.collections, spec.buckets)
    finally:
        await database.close()
    del left[to]
    print(f"{name}: {done} values were sealed anew with {to}; {_told(left)}", flush=True)
    return left


def _refuse_other(database: Database, to: str) -> None:
    active = database.cipher.active if isinstance(database.cipher, Envelope) else "no key"
    if active != to:
        raise SystemExit(
            f"{active} is active here and not {to}: wait until the Secret has reached this mount"
        )


def _told(left: Counter[str]) -> str:
    said = ", ".join(f"{n} under {key or 'no key'}" for key, n in sorted(left.items()))
    return f"left: {said}" if said else "nothing is left under another key"


async def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m libs.common.reseal")
    parser.add_argument("--to", required=True, metavar="NAME", help="the key that is active")
    parser.add_argument("service", nargs="+")
    given = parser.parse_args(arguments)
    left = [await _of_service(name, given.to) for name in given.service]
    if any(left):
        print("A replica still seals with another key, or wrote meanwhile: see that all have the"
              " same active, and run this again. Keep those keys.", flush=True)  # fmt: skip
    return 1 if any(left) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1:])))
