"""Which partners are there by their files, and what may stand in a new one?

What a file may hold says interop, and it is not said here again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lianxin.output import Failed
from libs.common import yaml_files
from services.interop.domain.partners import Partner, Partners
from services.interop.edge.partners import PartnersError, load_partners


def files(folder: Path) -> dict[str, Path]:
    """Each partner's file, by client. Raises :class:`Failed` where one can't be used."""
    try:
        load_partners(folder)
    except PartnersError as error:
        raise Failed(f"{error}: mend the file first.") from None
    return {yaml_files.read(f)["client"]: f for f in sorted(folder.glob("*.yaml"))}


def new_partner(given: dict[str, Any], folder: Path) -> Partner:
    """The partner, if it and those that there are can live together; else :class:`Failed`."""
    there = [Partner.model_validate(yaml_files.read(file)) for file in files(folder).values()]
    try:
        partner = Partner.model_validate(given)
        Partners([*there, partner])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "the whole"
        raise Failed(f"{field}: {first['msg'].removeprefix('Value error, ')}.") from None
    except ValueError as error:
        raise Failed(f"{error}: choose another.") from None
    return partner


def as_file(partner: Partner) -> str:
    """What stands in its file."""
    said = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in partner}
    return yaml.safe_dump({k: v for k, v in said.items() if v}, sort_keys=False, allow_unicode=True)


def write_new(file: Path, content: str) -> None:
    """First of all: a password that Kafka has taken must not get lost for a full disk."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(content)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}.") from None


def aside_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.retired")


def last_file(folder: Path, client: str) -> Partner | None:
    """What its file says, or said before it was set aside: who is retired again, as Kafka was
    away, has the same user there."""
    there = [files(folder).get(client), *sorted(folder.glob("*.yaml.retired"))]
    for file in there:
        try:
            if file is not None and (said := yaml_files.read(file)).get("client") == client:
                return Partner.model_validate(said)
        except (ValueError, yaml.YAMLError, AttributeError):
            raise Failed(f"{file} can't be read: mend it, or move it elsewhere.") from None
    return None
