"""Can personal data be sealed, and can what is stored be opened?"""

from __future__ import annotations

import asyncio
import stat
from collections import Counter
from typing import Any, Final

from pydantic import ValidationError

from lianxin.checks import Deployment, Finding, Findings
from libs.common import envelope
from libs.common.cipher import CantOpen, sealed_fields
from libs.common.decision import Document
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable
from libs.common.reseal import keys_in_use
from libs.common.settings import Settings

CHECK: Final = "keys"
#: So many rows of each collection say which keys are needed; all of them does the re-sealing.
_MOST: Final = 500
_LOOKED_AT: Final = f"in the first {_MOST} rows of each collection"


async def examine(of: Deployment) -> list[Finding]:
    found, active = Findings(CHECK), dict[str, str]()
    for name, settings in of.services.items():
        folder = settings.cipher_keys_dir
        if folder is None:
            continue
        try:
            # Anew for each: a folder that is written to may hold another key by now.
            await asyncio.to_thread(envelope.of, settings)
            active[name] = await asyncio.to_thread(envelope.KeyFolder(folder).active)
        except (OSError, ValueError, KeyError) as error:
            remedy = "the folder holds <name>.key (32 bytes in base64) and active (the name)"
            found.wrong(name, str(error), remedy)
            continue
        open_to = [f.name for f in folder.glob("*.key") if f.stat().st_mode & stat.S_IROTH]
        if open_to:
            said = f"everybody on the machine may read {', '.join(sorted(open_to))}"
            found.warn(name, said, "mode 0400, or the Secret's defaultMode 0440 with fsGroup")
        await _stored(found, of, name, settings, active[name])
    if len(set(active.values())) > 1:
        said = ", ".join(f"{key} ({name})" for name, key in sorted(active.items()))
        found.warn("all", f"different keys are active: {said}", "wait for the Secret, or restart")
    if not found.all:
        found.ok("all", "CIPHER_KEYS_DIR is not set: nothing is sealed")
    return found.all


async def _stored(
    found: Findings, of: Deployment, name: str, settings: Settings, active: str
) -> None:
    """Which keys are needed, and whether the first and the last document of each collection
    that is sealed can be opened."""
    database = Database.of(settings, name) if of.own else _as_we(of, name, settings)
    looked, in_use, spec = 0, Counter[str](), of.installation.spec(name)
    before = list(found.all)
    try:
        in_use = await keys_in_use(database, spec.collections, spec.buckets, most=_MOST)
        for each in spec.collections:
            model: type[Document] = each.model
            if not sealed_fields(model):
                continue
            collection: Any = database.collection(each)
            ends: dict[str, Any] = {}
            for order in (1, -1):
                by_id = (("_id", order),)
                rows = await database.find_rows(collection.raw, {}, sort=by_id, limit=1)
                ends |= {row["_id"]: row for row in rows}
            looked += len(ends)
            for row in ends.values():
                try:
                    collection.document(row)
                except (CantOpen, Unavailable, ValidationError) as error:
                    said = f"{model.COLLECTION} can't be opened: {_short(error)}"
                    found.wrong(name, said, "put the missing key back into CIPHER_KEYS_DIR")
        _other_keys(found, name, settings, active, in_use)
    except Unavailable as error:
        found.wrong(name, f"the database does not answer ({error})", "see the check database")
    finally:
        await database.close()
    said = f"{active} is active; {looked} documents opened; none of {in_use[active]} values"
    found.ok_unless(before, name, f"{said} {_LOOKED_AT} needs another key")


def _other_keys(
    found: Findings, name: str, settings: Settings, active: str, in_use: Counter[str]
) -> None:
    """What stands under another key than the active: that key is still needed."""
    assert settings.cipher_keys_dir is not None
    total = in_use.total()
    for key, count in sorted(in_use.items()):
        if key == active:
            continue
        said = f"{count} of {total} values {_LOOKED_AT} need {key or 'no key'}"
        if key and not envelope.key_file(settings.cipher_keys_dir, key).exists():
            remedy = "put the missing key back into CIPHER_KEYS_DIR"
            found.wrong(name, f"{said}, which is not there", remedy)
        else:
            remedy = f"keep it; python -m libs.common.reseal --to {active} {name}"
            found.warn(name, said, remedy if key else remedy.removeprefix("keep it; "))


def _as_we(of: Deployment, name: str, settings: Settings) -> Database:
    ours = of.installation.settings
    return Database(
        ours.mongo_url,
        ours.lianxin_database.format(service=name),
        cipher=envelope.of(settings),
        credentials=ours.mongo_credentials,
    )


def _short(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, ValidationError) else str(error)
