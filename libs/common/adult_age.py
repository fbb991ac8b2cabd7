"""From which age on does a person act for themselves?

``policies/persons/*.yaml``: one dated figure for all services. With a figure each, one
service could invite a child while another tells the parents.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.common import yaml_files


class _Persons(BaseModel):
    """One file: the figure from a day on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    adult_age: int = Field(ge=1, le=30, description="Completed years.")
    source: tuple[str, ...] = Field(min_length=1)


def load(policies_dir: Path) -> Callable[[date], int]:
    """The age of an adult on a calendar day of the hospital, in completed years.

    Before the first file's day the first one holds. ``ValueError`` says what is wrong.
    """
    folder = policies_dir / "persons"
    versions = sorted(map(_read, folder.glob("*.yaml")), key=lambda v: v.in_force_from)
    if not versions or len({v.in_force_from for v in versions}) != len(versions):
        raise ValueError(f"{folder}: there must be a file, and a day of its own for each")

    def on(day: date) -> int:
        begun = [v for v in versions if v.in_force_from <= day]
        return (begun or versions[:1])[-1].adult_age

    return on


def _read(file: Path) -> _Persons:
    try:
        return _Persons.model_validate(yaml_files.read(file))
    except (yaml.YAMLError, ValidationError) as error:
        raise ValueError(f"{file}: {error}") from error
