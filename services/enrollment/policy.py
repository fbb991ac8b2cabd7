"""Where do enrollment's dated rules come from?

``policies/programmes``, ``policies/consents`` and ``policies/persons``, one YAML document a
file, and a few settings. All of it is read and checked once, at the start: a service with
a wrong policy does not start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import ValidationError

from libs.common import adult_age, yaml_files
from services.enrollment.domain.programme import ConsentText, Policy, Programme, Rule
from services.enrollment.settings import Settings

R = TypeVar("R", bound=Rule)


class PolicyError(Exception):
    """A policy file is wrong; the message names the file and the field."""


def load_policy(settings: Settings) -> Policy:
    folder = settings.policies_dir
    try:
        return Policy(
            programmes=tuple(_read(folder / "programmes", Programme)),
            consents=tuple(_read(folder / "consents", ConsentText)),
            zone=ZoneInfo(settings.hospital_time_zone),
            accept_url=f"{settings.public_base_url.rstrip('/')}/accept",
            adult_age=adult_age.load(folder),
            group_limit=settings.group_limit,
            invitation_valid=settings.invitation_valid,
            backfill_after=settings.backfill_after,
            discharge_ahead=settings.discharge_ahead,
            tell_staff_within=settings.tell_staff_within,
        )
    except ValueError as error:
        raise PolicyError(f"{folder}: {error}") from error


def _read(folder: Path, model: type[R]) -> list[R]:
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise PolicyError(f"{folder}: there is no *.yaml")
    return [_one(file, model) for file in files]


def _one(file: Path, model: type[R]) -> R:
    try:
        content: Any = yaml_files.read(file)
        return model.model_validate(content)
    except (yaml.YAMLError, ValidationError) as error:
        raise PolicyError(f"{file}: {error}") from error
