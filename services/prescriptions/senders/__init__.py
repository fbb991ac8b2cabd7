"""Which signer is configured?"""

from __future__ import annotations

from libs.common.dev_issuer import DEVELOPMENT, Refused
from services.prescriptions.ports import Signer
from services.prescriptions.senders.local_keys import LocalKeys
from services.prescriptions.senders.signing_service import SigningService
from services.prescriptions.settings import Settings


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
