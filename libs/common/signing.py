"""How is a webhook signed, so that its receiver knows who sent it and that nobody changed it?

Standard Webhooks (standardwebhooks.com), version 1, symmetric: the signed text is
``<webhook-id>.<webhook-timestamp>.<body>``. While a secret is being exchanged both sign, and
the receiver takes whichever it knows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"


def secret_of(text: str) -> bytes:
    """The signing key of ``whsec_<base64>``; 24 to 64 bytes, as Standard Webhooks wants it."""
    key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    if not text.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret is whsec_ and the base64 of 24 to 64 bytes")
    return key


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """One value of ``webhook-signature``."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def signed_headers(
    secrets: Sequence[bytes], id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers of one attempt: ``id`` is the same at each, ``timestamp`` that of this one."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(s, id, timestamp, body) for s in secrets),
    }
