"""Who signs on a developer's machine, without a certificate authority?

Keys of our own, one for each person, in a directory: made when first needed. Anyone who
can read it can sign as anyone, so it is for development only. Without its file a person
gets a new key, which is how to try a rotation.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common import detached_jws
from libs.common.dev_issuer import pem, write_new
from services.prescriptions.ports import MadeJws, SignatureRequest

ALGORITHM: Final = "ES256"


class LocalKeys:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def sign(self, asked: SignatureRequest) -> MadeJws:
        return await asyncio.to_thread(self._sign, asked)

    def file(self, hospital: str, person: str) -> Path:
        """Where the key of ``person`` is; a person's id is no name for a file."""
        name = hashlib.sha256(json.dumps([hospital, person]).encode()).hexdigest()
        return self._directory / f"{name}.pem"

    def _sign(self, asked: SignatureRequest) -> MadeJws:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.file(asked.hospital, asked.person)
        if not file.exists():
            write_new(file, pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        header = {"kid": thumbprint(jwk), **asked.claims}
        jws = detached_jws.sign(asked.payload, key, ALGORITHM, header)
        return MadeJws(jws, jwk)


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638, for a key on an elliptic curve."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return detached_jws.text(hashlib.sha256(text.encode()).digest())
