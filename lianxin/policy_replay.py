"""Which renewals would another version of the rules have answered otherwise?

The facts that were kept with each request are put to the other version. Of a case whose answer
would differ there is the renewal's id, the version that decided, what it said and what this one
would say; no name and no finding. Nothing is written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from libs.common import adult_age, yaml_files
from libs.common.mongo.database import Database
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.policy import RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.replay import Difference, differences
from services.prescriptions.senders import local_rules
from services.prescriptions.settings import Settings
from services.prescriptions.store import REFILLS

#: Requests that are read at a time.
PAGE = 500
#: Figures that are not printed.
_TELLING = frozenset({"age", "in_words", "not_compared", "stops_at"})


def version_of(file: Path, settings: Settings) -> RenewalPolicy:
    zone, age = ZoneInfo(settings.hospital_time_zone), adult_age.load(settings.policies_dir)
    read, combinations = [yaml_files.read(file)], local_rules.combinations(settings)
    return RenewalPolicies(read, zone, age, combinations=combinations).versions[0]


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
    # Ages, dates, records and allergies could tell who it is; counts and words of the policy can't.
    figures = ", ".join(f"{k}={v}" for k, v in d.figures.items() if k not in _TELLING)
    return f"{d.refill_id}  {d.by}: {d.was} -> {d.would_be}" + (f"  ({figures})" if figures else "")
