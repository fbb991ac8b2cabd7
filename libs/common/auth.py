"""Who is calling?

Checks an OIDC bearer token (a JWT signed by a key of the issuer's JWKS) and turns it
into a :class:`Principal`. Every check is ours to name, so that a refused token says why:
expired, somebody else's, or not to be trusted at all. What the token holds is never
repeated in an answer or a log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import jwt

from libs.common.clock import Clock
from libs.common.decision import Actor
from libs.common.jwks import ALGORITHMS, FetchKeys, Keys

#: How far the issuer's clock and ours may differ, in seconds.
LEEWAY: Final = 30.0
TOKEN_MAX_CHARS: Final = 8 * 1024
#: Tokens whose signature need not be checked again while the keys stay (a third of the cost
#: of a small request).
TOKENS_KEPT: Final = 4_096

_HOSPITAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# No "/", which parts the hospital from the id in keys, no blanks, no control characters.
_PERSON = re.compile(r"[^\s/\x00-\x20\x7f]{1,255}")


class Role(StrEnum):
    """What a person, or a system (``integration``), may be to a hospital."""

    PATIENT = "patient"
    GUARDIAN = "guardian"
    DOCTOR = "doctor"
    NURSE = "nurse"
    PHARMACIST = "pharmacist"
    OPS = "ops"
    INTEGRATION = "integration"


class TokenReason(StrEnum):
    """Why a request is not authenticated."""

    MISSING = "token_missing"
    INVALID = "token_invalid"  # not a token, forged, or without what we need
    FOREIGN = "token_foreign"  # another issuer's, or meant for another audience
    EXPIRED = "token_expired"
    NOT_YET_VALID = "token_not_yet_valid"


class NotAuthenticated(Exception):
    """The request carries no token that we trust."""

    def __init__(self, reason: TokenReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: ``actor`` at ``hospital``, until ``expires`` (aware UTC)."""

    hospital: str
    actor: Actor
    expires: datetime


class TokenVerifier:
    """Checks tokens of one issuer, meant for one audience."""

    def __init__(self, *, issuer: str, audience: str, keys: FetchKeys, clock: Clock) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = Keys(keys, clock)
        self._clock = clock
        self._known: dict[str, Mapping[str, Any]] = {}
        self._known_with = 0
        self._jwt = jwt.PyJWT(
            {
                # Times are checked below against our own clock.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["iss", "aud", "exp", "sub"],
                "enforce_minimum_key_length": True,
            }
        )

    async def verify(self, token: str) -> Principal:
        """The principal of ``token``.

        Raises :class:`NotAuthenticated`, or ``jwks.KeysUnavailable`` when we can't know.
        """
        if len(token) > TOKEN_MAX_CHARS:
            raise NotAuthenticated(TokenReason.INVALID)
        self._keys.refresh_if_old()
        if self._known_with != self._keys.generation or len(self._known) >= TOKENS_KEPT:
            self._known.clear()
            self._known_with = self._keys.generation
        claims = self._known.get(token)
        if claims is None:
            claims = await self._claims(token)
            if self._known_with == self._keys.generation:
                self._known[token] = claims
        return self._principal(claims)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, UnicodeError):
            raise NotAuthenticated(TokenReason.INVALID) from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise NotAuthenticated(TokenReason.INVALID)
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise NotAuthenticated(TokenReason.INVALID)
        try:
            return self._jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
            )
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise NotAuthenticated(TokenReason.FOREIGN) from None
        except jwt.PyJWTError:
            raise NotAuthenticated(TokenReason.INVALID) from None

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        now = self._clock.now().timestamp()
        expires, not_before = _seconds(claims["exp"]), _seconds(claims.get("nbf", 0))
        if expires <= now - LEEWAY:
            raise NotAuthenticated(TokenReason.EXPIRED)
        if not_before > now + LEEWAY:
            raise NotAuthenticated(TokenReason.NOT_YET_VALID)
        roles = _words(claims.get("roles"))
        departments = _words(claims.get("departments", []))
        return Principal(
            hospital=_matching(_HOSPITAL, claims.get("hospital")),
            actor=Actor(
                person=_matching(_PERSON, claims["sub"]),
                # An issuer's other roles mean nothing to us.
                roles=frozenset(r for r in Role if r.value in roles),
                departments=departments,
            ),
            expires=datetime.fromtimestamp(expires, UTC),
        )


def _seconds(value: Any) -> float:
    # 253402300799 is the end of the year 9999, the last that a datetime holds.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAuthenticated(TokenReason.INVALID)
    if not 0 <= value <= 253402300799:
        raise NotAuthenticated(TokenReason.INVALID)
    return float(value)


def _words(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or any(not isinstance(v, str) for v in value):
        raise NotAuthenticated(TokenReason.INVALID)
    return frozenset(value)


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise NotAuthenticated(TokenReason.INVALID)
    return value
