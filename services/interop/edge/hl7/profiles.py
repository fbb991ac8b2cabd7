"""Where do the senders' profiles come from? ``policies/senders``, read once, at the start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, tzinfo
from pathlib import Path

import yaml
from pydantic import ValidationError

from libs.common import yaml_files
from services.interop.edge.hl7.receive import Senders
from services.interop.edge.profile import Profile, layered

DEFAULT = "default.yaml"


class PolicyError(Exception):
    """A profile can't be used; the message names its file."""


def load_senders(
    folder: Path, zone: tzinfo, adult_age: Callable[[date], int], documents_at: str
) -> Senders:
    """Every file of ``folder``, each laid over ``default.yaml``; ``zone`` is the hospital's,
    ``documents_at`` where the documents of messages can be had."""
    files = sorted(folder.glob("*.yaml"))
    try:
        common = yaml_files.read(folder / DEFAULT)
    except (OSError, yaml.YAMLError) as error:
        raise PolicyError(f"{folder / DEFAULT}: {error}") from error
    profiles: dict[str, Profile] = {}
    for file in files:
        try:
            own = {} if file.name == DEFAULT else yaml_files.read(file)
            profiles[file.name] = Profile.model_validate(layered(common, own))
        except (ValidationError, yaml.YAMLError, TypeError, AttributeError) as error:
            raise PolicyError(f"{file}: {error}") from error
    default = profiles.pop(DEFAULT)
    try:
        return Senders(profiles.values(), default, zone, adult_age, documents_at)
    except ValueError as error:
        raise PolicyError(f"{folder}: {error}") from error
