"""Do the clocks agree? Tokens, quiet hours and leases go by them.

Kafka's protocol tells no time of the brokers, so theirs are not seen.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from lianxin.checks import Deployment, Finding, Findings
from libs.common.auth import LEEWAY
from libs.common.mongo.errors import Unavailable

CHECK: Final = "clocks"
#: An answer's Date has whole seconds.
_APART: Final = timedelta(seconds=2)
#: From here on a good token may be refused.
_TOO_FAR: Final = timedelta(seconds=LEEWAY)


async def examine(of: Deployment) -> list[Finding]:
    found = Findings(CHECK)
    await _database(found, of)
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        await asyncio.gather(*(_service(found, of, http, name) for name in of.services))
    return found.all


async def _database(found: Findings, of: Deployment) -> None:
    clock = of.installation.ports.clock
    try:
        database = of.installation.database(next(iter(of.services)))
        before = clock.now()
        there = (await database.ask("hello"))["localTime"].replace(tzinfo=UTC)
    except Unavailable as error:
        found.wrong("database", f"does not answer ({error})", "see the check database")
        return
    compare(found, "database", before, there, clock.now())


async def _service(found: Findings, of: Deployment, http: httpx.AsyncClient, name: str) -> None:
    clock = of.installation.ports.clock
    urls = await of.installation.replicas(name)
    for url in urls:
        before = clock.now()
        try:
            answer = await http.get(f"{url}/livez")
            there = parsedate_to_datetime(answer.headers["date"])
        except (httpx.HTTPError, KeyError, ValueError) as error:
            said = f"{url} tells no time ({type(error).__name__})"
            found.warn(name, said, "is it up, and LIANXIN_URL right?")
            continue
        compare(found, name if len(urls) == 1 else f"{name} {url}", before, there, clock.now())


def compare(found: Findings, of: str, before: datetime, there: datetime, after: datetime) -> None:
    """``there`` was read between the two."""
    apart = there - (before + (after - before) / 2)
    slack = (after - before) / 2
    said = f"{apart.total_seconds():+.1f} s against this machine"
    if abs(apart) - slack > _TOO_FAR:
        found.wrong(of, said, "let NTP set both machines' clocks (chronyc tracking)")
    elif abs(apart) - slack > _APART:
        found.warn(of, said, "let NTP set both machines' clocks (chronyc tracking)")
    else:
        found.ok(of, said)
