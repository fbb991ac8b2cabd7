"""Who checks clinically where the hospital has connected no rule engine?

The small dated set in ``policies/clinical``. It knows little and says so. What it lists of
combinations is what the rules of a renewal go by, too, whoever checks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from libs.common import yaml_files
from services.prescriptions.domain.checks import ClinicalChecks
from services.prescriptions.domain.local_checks import findings
from services.prescriptions.domain.rule_set import RuleSets
from services.prescriptions.domain.substances import Combinations
from services.prescriptions.ports import CheckRequest
from services.prescriptions.settings import Settings


def load(directory: Path, zone: ZoneInfo) -> RuleSets:
    return RuleSets(yaml_files.checked(directory, lambda one: RuleSets([one], zone)), zone)


def combinations(settings: Settings) -> Callable[[datetime], Combinations]:
    """Which ATC codes are of several substances, at a moment."""
    sets = load(settings.policies_dir / "clinical", ZoneInfo(settings.hospital_time_zone))
    return lambda now: sets.at(now).combinations


class LocalRules:
    name = "local"

    def __init__(self, directory: Path, zone: ZoneInfo) -> None:
        self._sets = load(directory, zone)

    async def check(self, asked: CheckRequest) -> ClinicalChecks:
        return self.found(asked)

    def found(self, asked: CheckRequest) -> ClinicalChecks:
        rules = self._sets.at(asked.at)
        return ClinicalChecks(
            id=asked.id,
            engine=self.name,
            version=rules.version,
            at=asked.at,
            checks=findings(rules, asked.question),
        )
