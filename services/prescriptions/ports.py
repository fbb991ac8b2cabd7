"""Who holds the private keys of doctors and pharmacists, and who knows of medicines?

Not we. The hospital's certificate authority, or its signing service, signs for the one person
that it is asked for, and says with which key. Its rule engine says what it finds against a
prescription.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from services.prescriptions.domain.checks import ClinicalChecks, NotChecked, Question


@dataclass(frozen=True, slots=True)
class SignatureRequest:
    """``payload`` is to be signed by ``person`` of ``hospital``, who acts in ``role``."""

    hospital: str
    person: str
    role: str
    at: datetime
    payload: bytes

    @property
    def claims(self) -> Mapping[str, Any]:
        """What the protected header has to say besides ``alg`` and ``kid``."""
        return {"sub": self.person, "role": self.role, "iat": int(self.at.timestamp())}


@dataclass(frozen=True, slots=True)
class MadeJws:
    """A detached JWS and the public key (JWK) that it is to be verified with."""

    jws: str
    jwk: Mapping[str, str]


class NotSigned(StrEnum):
    """Why there is no signature."""

    NO_CERTIFICATE = "no_signing_certificate"  # this person can't sign; asking again is no use
    UNAVAILABLE = "signing_unavailable"


class SigningFailed(Exception):
    """Nothing was signed. ``why`` is for the log and holds no personal data."""

    def __init__(self, reason: NotSigned, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason
        self.why = why


class Signer(Protocol):
    async def sign(self, asked: SignatureRequest) -> MadeJws:
        """Raises :class:`SigningFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """``question`` is to be checked for ``hospital``; ``id`` names this one asking."""

    id: str
    hospital: str
    at: datetime
    question: Question


class CheckFailed(Exception):
    """Nothing was checked. ``why`` is for the log and holds no personal data."""

    def __init__(self, reason: NotChecked, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason
        self.why = why


class ClinicalChecker(Protocol):
    @property
    def name(self) -> str:
        """A word from a closed list, for the metrics and for people to read."""
        ...

    async def check(self, asked: CheckRequest) -> ClinicalChecks:
        """What it found; kinds of checks of which it says nothing are not checked.

        Raises :class:`CheckFailed`.
        """
        ...
