"""Which rules hold, are those of a folder sound, and what would others have changed?

A folder of policies is checked by the very loaders that the services start with: what passes here
is taken there. Each fault is said with its file, its field and what to do.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
import yaml
from pydantic import ValidationError

from lianxin import policy_replay
from lianxin.installation import SERVICES, Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table, wrong_settings
from libs.common import yaml_files
from services.prescriptions.settings import Settings as PrescriptionSettings

app = typer.Typer(no_args_is_help=True, help="The dated rules: which hold, and are they sound?")

#: Who reads which folder of the policies.
READERS: Final[dict[str, tuple[str, ...]]] = {
    "clinical": ("prescriptions",),
    "consents": ("enrollment", "messaging"),
    "education": ("messaging",),
    "messaging": ("messaging",),
    "notify": ("notify",),
    "partners": ("interop",),
    "persons": ("enrollment", "reports", "prescriptions", "interop"),
    "pharmacies": ("prescriptions",),
    "programmes": ("enrollment",),
    "renewal": ("prescriptions",),
    "reports": ("reports",),
    "senders": ("interop",),
    "templates": ("notify",),
}
_BEGINS, _ENDS = ("in_force_from", "valid_from"), "valid_until"
#: What to do about a fault, by pydantic's word for it; else its own message says.
_REMEDIES: Final = {
    "missing": "write the field",
    "extra_forbidden": "this version knows no such field: is it misspelt, or of a newer version?",
}


@dataclass(frozen=True)
class Version:
    """One dated text: in force from a day on, until another begins or its own end."""

    folder: str
    readers: tuple[str, ...]
    name: str
    begins: date
    ends: date | None
    in_force: bool


@dataclass(frozen=True)
class Fault:
    """What keeps a service from taking the policies. ``field`` is empty where all of it is."""

    service: str
    file: str
    field: str
    fault: str
    remedy: str


def versions(folder: Path, on: date) -> list[Version]:
    """Every dated text of the policies, and whether it holds on that day."""
    return [found for name in READERS for found in _of_folder(folder / name, name, on)]


def _of_folder(folder: Path, name: str, on: date) -> Iterator[Version]:
    read: list[tuple[str, str, date, date | None]] = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            content = yaml_files.read(file)
        except yaml.YAMLError as error:
            raise Failed(f"{file}: {error}. See `lianxin policy check`.") from None
        begins = next((content[key] for key in _BEGINS if key in content), None)
        if isinstance(begins, date):
            # One version of the figures follows another; a text only one of its own key.
            key = str(content.get("key") or content.get("id") or "")
            label = str(content.get("version") or key)
            read.append((key, label, begins, content.get(_ENDS)))
    for key, label, begins, ends in sorted(read, key=lambda r: (r[0], r[2])):
        begun = [b for k, _, b, e in read if k == key and b <= on and (e is None or on < e)]
        yield Version(name, READERS[name], label, begins, ends, begins == max(begun, default=None))


def faults(folder: Path, only: tuple[str, ...] = SERVICES) -> list[Fault]:
    """What each service's own loader says of ``folder``; its first fault of each."""
    installation = Installation.of_environment()
    found: list[Fault] = []
    for service in only:
        spec = installation.spec(service)
        try:
            settings = spec.settings(policies_dir=folder)
        except ValidationError as error:
            raise wrong_settings(error) from None
        found += _of_loader(service, partial(spec.policy, settings))
    return found


def _of_loader(service: str, load: Callable[[], Any]) -> Iterator[Fault]:
    try:
        load()
    except Exception as error:  # a loader that fails by any of them keeps its service from starting
        yield from _as_faults(service, error)


def _as_faults(service: str, error: Exception) -> Iterator[Fault]:
    text, cause = str(error), error
    while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    named = list(re.finditer(r"[^\s:]+\.yaml(?=: )", text.split("\n", 1)[0]))
    file = named[-1].group() if named else ""
    rest = text[named[-1].end() + 2 :] if named else text
    if isinstance(cause, OSError) and cause.filename:
        file, rest = str(cause.filename), cause.strerror or text
    if isinstance(cause, ValidationError):
        for each in cause.errors(include_url=False, include_input=False):
            field = ".".join(map(str, each["loc"]))
            said = each["msg"].removeprefix("Value error, ")
            yield Fault(
                service, file, field, said, _REMEDIES.get(each["type"], "correct the value")
            )
    elif isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark is not None:
        line = f"line {cause.problem_mark.line + 1}"
        yield Fault(service, file, line, cause.problem or "it is no YAML", "mend the line")
    else:
        yield Fault(service, file, "", " ".join(rest.split()), "mend the file")


@app.command("list")
@command
async def list_versions(
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="On which day; today if absent.")
    ] = None,
    json: Json = False,
) -> Answer:
    """Every version of the dated rules, by who reads it, and which of them hold."""
    installation = Installation.of_environment()
    settings = installation.settings
    zone = ZoneInfo(settings.hospital_time_zone)
    day = on.date() if on else installation.ports.clock.now().astimezone(zone).date()
    found = versions(settings.policies_dir, day)
    if not found:
        raise Failed(f"{settings.policies_dir} has no dated rules: see POLICIES_DIR.")
    rows = (
        (v.folder, ", ".join(v.readers), v.name, v.begins, v.ends, "in force" if v.in_force else "")
        for v in found
    )
    shown = table(f"On {day}", ("folder", "read by", "version", "from", "until", ""), rows)
    return Answer(found, [shown], WELL)


@app.command("check")
@command
async def check(
    folder: Annotated[
        Path | None, typer.Argument(help="The policies; POLICIES_DIR if absent.")
    ] = None,
    json: Json = False,
) -> Answer:
    """Whether every service would take these policies. Exit code 1 with what is wrong."""
    at = folder or Installation.of_environment().settings.policies_dir
    if not await asyncio.to_thread(at.is_dir):
        raise Failed(f"{at} is no folder: name the one that holds programmes, renewal, …")
    found = await asyncio.to_thread(faults, at)
    if not found:
        return Answer([], [f"{at}: {len(SERVICES)} services take these policies."], WELL)
    rows = ((f.file, f.field or "the whole", f.fault, f.remedy, f.service) for f in found)
    shown = table("", ("file", "field", "fault", "remedy", "service"), rows)
    return Answer(found, [shown, "A service with these policies would not start."], LOOK)


@app.command("replay")
@command
async def replay(
    since: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="Since which day.")
    ],
    policy: Annotated[Path, typer.Option(help="The other version: a file as in policies/renewal.")],
    hospital: Annotated[str, typer.Option(help="Whose renewals.")] = "h1",
    json: Json = False,
) -> Answer:
    """Which past renewals another version of the rules would answer otherwise. Reads only."""
    installation = Installation.of_environment()
    try:
        given = installation.settings.model_dump(include={"mongo_url"})
        settings = PrescriptionSettings(**given)
    except ValidationError as error:
        raise wrong_settings(error) from None
    try:
        other = policy_replay.version_of(policy, settings)
    except (OSError, ValueError, yaml.YAMLError, KeyError) as error:
        found = next(iter(_as_faults("prescriptions", error)))
        raise Failed(f"{policy}: {found.field or 'the whole'}: {found.fault}.") from None
    async with installation.open():
        database = installation.database("prescriptions")
        begin = datetime.combine(since.date(), time(), other.zone)
        differ, asked, without = await policy_replay.replay(database, hospital, begin, other)
    counts = Counter((d.was, d.would_be) for d in differ)
    shown = [policy_replay.line(d) for d in differ]
    shown += [f"{count:6} {was} -> {new}" for (was, new), count in sorted(counts.items())]
    said = f"{len(differ)} of {asked} requests would be answered otherwise by {other.version};"
    said += " what is asked only when a doctor or pharmacist decides is not replayed"
    lost = f"{without} requests were made before facts were kept, and can't be asked about"
    facts = {"version": other.version, "asked": asked, "without_facts": without, "differ": differ}
    return Answer(facts, [*shown, said, *([lost] if without else [])], WELL)
