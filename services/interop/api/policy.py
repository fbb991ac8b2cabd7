"""What has interop read from ``policies`` at its start?"""

from __future__ import annotations

from dataclasses import dataclass

from services.interop.domain.partners import Partners
from services.interop.domain.subscription import Figures
from services.interop.edge.hl7.receive import Senders


@dataclass(frozen=True, slots=True)
class Policy:
    """``senders``: how each sender of messages writes; ``partners``: who may do what;
    ``figures``: how webhooks are repeated and kept (settings)."""

    senders: Senders
    partners: Partners
    figures: Figures
