"""Where do the partners come from? ``policies/partners``, read once, at the start."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from libs.common import yaml_files
from services.interop.domain.partners import Partner, Partners


class PartnersError(Exception):
    """A partner's file can't be used; the message names the file and the field."""


def load_partners(folder: Path) -> Partners:
    """Every file of ``folder``, one partner each; none is no mistake."""
    found: list[Partner] = []
    known = Partners()
    for file in sorted(folder.glob("*.yaml")):
        try:
            found.append(Partner.model_validate(yaml_files.read(file)))
            known = Partners(found)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}"
                for e in error.errors(include_url=False, include_input=False)
            )
            raise PartnersError(f"{file}: {faults}") from error
        except (ValueError, yaml.YAMLError) as error:
            raise PartnersError(f"{file}: {error}") from error
    return known
