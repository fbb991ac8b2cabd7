"""Can the rules have made every renewal that is stored?

``python -m scripts.history_check [--hospital h1]`` reads all renewals of a hospital from the
service's database (``MONGO_URL``), a page at a time, replays the history of each through the
table, compares its fields and forms, and verifies its signatures. For each fault there is a
line with the renewal's id and what is wrong, never with a name. Nothing is written. The exit
code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from libs.common import detached_jws
from libs.common.cipher import CantOpen
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Unavailable
from services.prescriptions.api.verification import examined
from services.prescriptions.domain.documents import Refill, SigningKey
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.main import load_policy
from services.prescriptions.settings import Settings
from services.prescriptions.store import REFILLS, SIGNING_KEYS

#: Renewals that are read at a time.
PAGE = 500
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


async def pages(database: Database, hospital: str) -> AsyncIterator[list[Row]]:
    """All renewals of one hospital as they are stored, the oldest first."""
    raw = database.raw(REFILLS.model.COLLECTION)
    at, id = _FIRST, ""
    while True:
        where = {"requested_at": {"$gte": at}, "$nor": [{"requested_at": at, "id": {"$lte": id}}]}
        rows = await database.find_rows(
            raw, {"hospital": hospital, **where}, sort=(("requested_at", 1), ("id", 1)), limit=PAGE
        )
        yield rows
        if len(rows) < PAGE:
            return
        at, id = rows[-1]["requested_at"], rows[-1]["id"]


def unverified(refill: Refill, keys: Mapping[str, SigningKey]) -> Iterator[str]:
    """Which signatures don't hold, or are not those that they are said to be."""
    for n, form in enumerate(refill.forms, 1):
        for signature in form.signatures:
            seen = examined(form.text, signature.jws, keys.get(signature.kid))
            said = (signature.role, signature.person_id)
            if not seen.verified or (seen.role, seen.practitioner_id) != said:
                yield f"signature: forms.{n} {signature.role}: {seen.reason or 'of another'}"


async def check(
    database: Database, hospital: str, policies: RenewalPolicies, now: datetime
) -> tuple[list[tuple[str, str]], int]:
    """What is wrong, by the renewal's id, and how many renewals were read."""
    refills, signing_keys = database.collection(REFILLS), database.collection(SIGNING_KEYS)
    found: list[tuple[str, str]] = []
    read = 0
    async for rows in pages(database, hospital):
        read += len(rows)
        readable: list[Refill] = []
        for row in rows:
            try:
                readable.append(refills.document(row))
            except ValidationError as error:
                fields = {".".join(map(str, e["loc"])) for e in error.errors(include_input=False)}
                found.append((row["id"], f"unreadable: {', '.join(sorted(fields))}"))
            except CantOpen as error:
                found.append((row["id"], f"unreadable: {error}"))
        kids = {s.kid for r in readable for f in r.forms for s in f.signatures}
        wanted = [(hospital, kid) for kid in kids if detached_jws.KID.fullmatch(kid)]
        keys = {key.id: key for key in await signing_keys.load("id", wanted)}
        for refill in readable:
            found += [(refill.id, str(f)) for f in faults(refill, policies, now)]
            found += [(refill.id, wrong) for wrong in unverified(refill, keys)]
    return found, read


async def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="history-check", description=(__doc__ or "")[:60])
    parser.add_argument("--hospital", default="h1")
    wanted = parser.parse_args(argv)
    settings = Settings()
    database = Database.of(settings, "prescriptions")
    try:
        found, read = await check(
            database, wanted.hospital, load_policy(settings), datetime.now(UTC)
        )
    except Unavailable as error:
        print(
            f"The database can't be reached ({error}): start it, as with make run, or name it with"
            " MONGO_URL.",
            file=sys.stderr,
        )
        return 2
    finally:
        await database.close()
    for id, wrong in found:
        print(f"{id}  {wrong}")
    print(f"{len({id for id, _ in found})} of {read} renewals of {wanted.hospital} have a fault")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
