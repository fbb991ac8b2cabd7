"""Which renewals would another version of the rules have answered otherwise?

``python -m scripts.policy_replay --from 2026-01-01 --policy file.yaml [--hospital h1]`` reads
the requests since that day from the service's database (``MONGO_URL``), puts the facts that
were kept with each to the version in the file, and prints a line for every case whose answer
would differ: the renewal's id, the version that decided, what it said and what this one
would say. No name and no finding is printed. Nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from libs.common import adult_age, yaml_files
from libs.common.mongo import Database
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.policy import RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.replay import Difference, differences
from services.prescriptions.settings import Settings
from services.prescriptions.store import REFILLS

#: Requests that are read at a time.
PAGE = 500


def version_of(file: Path, settings: Settings) -> RenewalPolicy:
    zone, age = ZoneInfo(settings.hospital_time_zone), adult_age.load(settings.policies_dir)
    return RenewalPolicies([yaml_files.read(file)], zone, age).versions[0]


async def requests(database: Database, hospital: str, since: datetime) -> AsyncIterator[Refill]:
    """All of one hospital since then, the oldest first."""
    refills = database.collection(REFILLS)
    at, id = since, ""
    while True:
        where = {"requested_at": {"$gte": at}, "$nor": [{"requested_at": at, "id": {"$lte": id}}]}
        found = await refills.find(
            hospital, where, sort=(("requested_at", 1), ("id", 1)), limit=PAGE
        )
        for refill in found:
            yield refill
        if len(found) < PAGE:
            return
        at, id = found[-1].requested_at, found[-1].id


async def replay(
    database: Database, hospital: str, since: datetime, policy: RenewalPolicy
) -> tuple[list[Difference], int, int]:
    """The differences, how many requests were asked about, and how many have no facts."""
    found: list[Difference] = []
    asked = without = 0
    async for refill in requests(database, hospital, since):
        if refill.facts is None:
            without += 1
            continue
        asked += 1
        found += differences([refill], policy)
    return found, asked, without


def line(d: Difference) -> str:
    # Dates and ages could tell who it is; counts and words of the policy can't.
    figures = ", ".join(f"{k}={v}" for k, v in d.figures.items() if k != "age")
    return f"{d.refill_id}  {d.by}: {d.was} -> {d.would_be}" + (f"  ({figures})" if figures else "")


async def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="policy-replay", description=(__doc__ or "")[:80])
    parser.add_argument("--from", dest="since", type=date.fromisoformat, required=True)
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--hospital", default="h1")
    wanted = parser.parse_args(argv)
    settings = Settings()
    policy = version_of(wanted.policy, settings)
    database = Database(settings.mongo_url, settings.mongo_database or "lianxin_prescriptions")
    since = datetime.combine(wanted.since, time(), policy.zone)
    try:
        found, asked, without = await replay(database, wanted.hospital, since, policy)
    finally:
        await database.close()
    for difference in found:
        print(line(difference))
    for (was, would_be), count in sorted(Counter((d.was, d.would_be) for d in found).items()):
        print(f"{count:6} {was} -> {would_be}")
    print(f"{len(found)} of {asked} requests would be answered otherwise by {policy.version}")
    if without:
        print(f"{without} requests were made before facts were kept, and can't be asked about")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
