"""Who signed these bytes?

JWS in compact form with detached content (RFC 7515, appendix F): ``<header>..<signature>``,
the payload travels on its own. An answer is either the protected header of a signature
that is beyond doubt or :class:`NotVerified` with the reason.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.jwks import ALGORITHMS

MAX_CHARS: Final = 8 * 1024
#: Names of keys that may become part of a document's id and of a URL.
KID: Final = re.compile(r"[A-Za-z0-9._~:@=+-]{1,128}")
_JWS = jwt.PyJWS()


class Doubt(StrEnum):
    """Why a signature is not taken."""

    MALFORMED = "malformed"
    ALGORITHM = "algorithm_not_verified"  # ``none``, a MAC, or one that we don't know
    KEY = "key_does_not_fit"
    SIGNATURE = "signature_wrong"


class NotVerified(Exception):
    def __init__(self, reason: Doubt) -> None:
        super().__init__(reason.value)
        self.reason = reason


def sign(
    payload: bytes, key: ec.EllipticCurvePrivateKey, algorithm: str, header: Mapping[str, Any]
) -> str:
    """A detached JWS of ``payload`` whose protected header is ``header`` and the ``alg``."""
    head, _, signature = _JWS.encode(
        payload, key, algorithm, headers={"typ": "JOSE", **header}
    ).split(".")
    return f"{head}..{signature}"


def header_of(jws: str) -> Mapping[str, Any]:
    """The protected header, of which nothing is known to be true yet."""
    head, _ = _parts(jws)
    try:
        header = json.loads(_bytes(head))
    except (ValueError, RecursionError):
        raise NotVerified(Doubt.MALFORMED) from None
    if not isinstance(header, dict):
        raise NotVerified(Doubt.MALFORMED)
    return header


def verify(jws: str, payload: bytes, jwk: Mapping[str, Any]) -> Mapping[str, Any]:
    """The protected header, if ``jws`` is a signature of ``payload`` by the key ``jwk``."""
    header = header_of(jws)
    head, signature = _parts(jws)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotVerified(Doubt.ALGORITHM)
    if "crit" in header or "b64" in header:  # what must be understood, and is not (4.1.11)
        raise NotVerified(Doubt.MALFORMED)
    try:
        key = jwt.PyJWK(dict(jwk))
    except jwt.PyJWTError:
        raise NotVerified(Doubt.KEY) from None
    if key.algorithm_name != algorithm or "d" in jwk:
        raise NotVerified(Doubt.KEY)
    try:
        _JWS.decode(f"{head}.{text(payload)}.{signature}", key, algorithms=[algorithm])
    except jwt.PyJWTError:
        raise NotVerified(Doubt.SIGNATURE) from None
    return header


def text(content: bytes) -> str:
    """Base64url without padding, as everywhere in JOSE."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _parts(jws: str) -> tuple[str, str]:
    parts = jws.split(".")
    if len(jws) > MAX_CHARS or len(parts) != 3 or parts[1]:
        raise NotVerified(Doubt.MALFORMED)
    for part in (parts[0], parts[2]):
        _bytes(part)
    return parts[0], parts[2]


def _bytes(part: str) -> bytes:
    """Strictly: Python's decoder passes over strange characters and spare bits."""
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (ValueError, binascii.Error):
        raise NotVerified(Doubt.MALFORMED) from None
    if text(content) != part:
        raise NotVerified(Doubt.MALFORMED)
    return content
