"""What does a check of a deployment say? One module for each thing that is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lianxin.installation import Installation
from lianxin.topics import Figures
from libs.common.settings import Settings


class Verdict(StrEnum):
    OK = "OK"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """``of``: what was looked at; ``found``: what is so; ``remedy``: what to do, unless OK."""

    check: str
    of: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Deployment:
    """What is examined: the settings of each service, as far as they can be read, and the
    installation as this command reaches it."""

    installation: Installation
    services: Mapping[str, Settings]
    figures: Figures
    #: Whether the settings are the services' own, and so is whom they log in as.
    own: bool
    days: int = 30

    @property
    def production(self) -> bool:
        return self.installation.settings.environment == "production"


@dataclass
class Findings:
    """What one check finds, in its order."""

    check: str
    all: list[Finding] = field(default_factory=list)

    def ok(self, of: str, found: str) -> None:
        self.all.append(Finding(self.check, of, Verdict.OK, found))

    def warn(self, of: str, found: str, remedy: str) -> None:
        self.all.append(Finding(self.check, of, Verdict.WARNING, found, remedy))

    def wrong(self, of: str, found: str, remedy: str) -> None:
        self.all.append(Finding(self.check, of, Verdict.WRONG, found, remedy))

    def ok_unless(self, before: Sequence[Any], of: str, found: str) -> None:
        """OK, if nothing was added since ``before`` was what there was."""
        if len(self.all) == len(before):
            self.ok(of, found)
