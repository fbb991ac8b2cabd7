"""Is a deployment sound: after installing, after an upgrade, at three in the morning?

Each check says OK, a warning or what is wrong, with what to do. Nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.markup import escape

from lianxin import policy
from lianxin.checks import (
    Deployment,
    Finding,
    Findings,
    Verdict,
    certificates,
    clocks,
    database,
    kafka,
    keys,
    settings,
)
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table
from lianxin.topics import MinInsync, Replication, figures_of
from libs.common.jwks import fetch_keys, usable_keys

_COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red"}


async def _settings(of: Deployment) -> list[Finding]:
    return settings.examine(of)


async def _policies(of: Deployment) -> list[Finding]:
    found = Findings("policies")
    for folder in sorted({s.policies_dir for s in of.services.values()}):
        faults = await asyncio.to_thread(policy.faults, folder, tuple(of.services))
        for fault in faults:
            said = f"{fault.field or 'the whole'}: {fault.fault}"
            found.wrong(f"{fault.service} {fault.file}", said, fault.remedy)
        if not faults:
            found.ok(str(folder), "every service takes them")
    return found.all


async def _tokens(of: Deployment) -> list[Finding]:
    found = Findings("tokens")
    places = {(s.oidc_jwks_url, s.oidc_ca) for s in of.services.values() if s.oidc_jwks_url}
    for url, ca in sorted(places, key=str):
        try:
            count = len(usable_keys(await fetch_keys(url, ca)()))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            said = f"no keys come from there ({type(error).__name__}: {error})"
            found.wrong(url, said, "OIDC_JWKS_URL, and the way there")
            continue
        if count:
            found.ok(url, f"{count} keys that we take")
        else:
            found.wrong(url, "none of its keys can be taken", "RS256, ES256 …: libs/common/jwks.py")
    return found.all


async def _versions(of: Deployment) -> list[Finding]:
    """That of each replica's image, and of this command's."""
    found, seen = Findings("versions"), dict[str, str]()
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        for name in of.services:
            urls = await of.installation.replicas(name)
            for url in urls:
                try:
                    answer = (await http.get(f"{url}/openapi.json")).raise_for_status()
                    who = name if len(urls) == 1 else f"{name} {url}"
                    seen[who] = str(answer.json()["info"]["version"])
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    said = f"{url} does not say ({type(error).__name__})"
                    found.warn(name, said, "is it up, and LIANXIN_URL right?")
    if ours := of.installation.settings.lianxin_version:
        seen["this command"] = ours
    if len(set(seen.values())) > 1:
        said = ", ".join(f"{version} ({name})" for name, version in seen.items())
        remedy = "wait for the rollout, or finish the upgrade"
        found.warn("all", f"not the same everywhere: {said}", remedy)
    elif seen:
        found.ok("all", f"version {next(iter(seen.values()))} everywhere")
    return found.all


_CHECKS: Final[Mapping[str, Callable[[Deployment], Awaitable[list[Finding]]]]] = {
    "settings": _settings,
    "certificates": certificates.examine,
    "clocks": clocks.examine,
    "kafka": kafka.examine,
    "database": database.examine,
    "keys": keys.examine,
    "tokens": _tokens,
    "policies": _policies,
    "versions": _versions,
}
Only = Annotated[
    list[str] | None, typer.Option(help=f"One of {', '.join(_CHECKS)}; may be given again.")
]


@command
async def doctor(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            help="A folder with <service>.env for each: its variables, NAME=value. Then each"
            " service's own users are tried. Without it all have those of this environment.",
        ),
    ] = None,
    only: Only = None,
    days: Annotated[int, typer.Option(min=0, help="Certificates must last so long.")] = 30,
    replication: Replication = None,
    min_insync: MinInsync = None,
    json: Json = False,
) -> Answer:
    """Check a deployment: what is OK, what is wrong, what to do. Exit code 1 if anything is."""
    if unknown := set(only or ()) - _CHECKS.keys():
        raise Failed(f"There is no check {', '.join(sorted(unknown))}: {', '.join(_CHECKS)} are.")
    installation = Installation.of_environment()
    services, unreadable = settings.read(installation, folder)
    if not services and not unreadable:
        raise Failed("There is no service.")
    figures = figures_of(installation, replication, min_insync)
    of = Deployment(installation, services, figures, own=folder is not None, days=days)
    found = list(unreadable)
    async with installation.open():
        for name, check in _CHECKS.items():
            if services and (not only or name in only):
                found += await check(of)
    return _answer(found)


def _answer(found: list[Finding]) -> Answer:
    counts = Counter(f.verdict for f in found)
    rows = [
        (
            f.check,
            f.of,
            f"[{_COLOURS[f.verdict]}]{f.verdict}[/]",
            escape(f.found + (f"\n→ {f.remedy}" if f.remedy else "")),
        )
        for f in sorted(found, key=lambda f: list(Verdict).index(f.verdict))  # the worst is last
    ]
    shown = table("", ("check", "of", "", "found"), rows)
    end = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    return Answer(found, [shown, end], LOOK if counts[Verdict.WRONG] else WELL)
