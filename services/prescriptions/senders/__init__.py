"""Which signer and which clinical checker are configured?"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from libs.common.dev_issuer import DEVELOPMENT, Refused
from services.prescriptions.ports import ClinicalChecker, Signer
from services.prescriptions.senders.local_keys import LocalKeys
from services.prescriptions.senders.local_rules import LocalRules
from services.prescriptions.senders.rule_engine import RuleEngine
from services.prescriptions.senders.signing_service import SigningService
from services.prescriptions.settings import Settings


@dataclass(slots=True)
class Adapters:
    """What the routes need of the outside world."""

    signer: Signer
    checker: ClinicalChecker


def adapters_of(settings: Settings) -> Adapters:
    return Adapters(signer=signer_of(settings), checker=checker_of(settings))


def signer_of(settings: Settings) -> Signer:
    """The hospital's signing service; in development, without one, keys of our own.

    Raises :class:`Refused` with the sentence to show.
    """
    if settings.signing_url:
        return SigningService(settings)
    if settings.environment != DEVELOPMENT:
        raise Refused(
            "SIGNING_URL must name the hospital's signing service with "
            f"ENVIRONMENT={settings.environment}: keys of our own prove nothing."
        )
    return LocalKeys(settings.signing_keys_dir)


def checker_of(settings: Settings) -> ClinicalChecker:
    """The hospital's rule engine; without one the small set of ``policies/clinical``."""
    if settings.clinical_url:
        return RuleEngine(settings)
    zone = ZoneInfo(settings.hospital_time_zone)
    return LocalRules(settings.policies_dir / "clinical", zone)
