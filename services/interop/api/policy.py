"""What has interop read from ``policies`` at its start?"""

from __future__ import annotations

from dataclasses import dataclass

from services.interop.domain.partners import Partners
from services.interop.edge.hl7.receive import Senders


@dataclass(frozen=True, slots=True)
class Policy:
    """``senders``: how each sender of messages writes; ``partners``: who may do what."""

    senders: Senders
    partners: Partners
