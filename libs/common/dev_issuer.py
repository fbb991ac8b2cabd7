"""Where do tokens come from on a developer's machine, without an OIDC provider?

From a key of our own under ``.data/dev-issuer``. Anyone who can read that directory can
be anyone, so it works only with ``ENVIRONMENT=development`` and a service that finds
itself configured with it elsewhere refuses to start.

``ENVIRONMENT=development python -m libs.common.dev_issuer token --role doctor --person p1
--hospital h1 --department cardio`` prints a token.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import APIRouter

from libs.common.auth import Role
from libs.common.clock import Ports

DEVELOPMENT: Final = "development"
PATH: Final = "/dev-issuer"
DEFAULT_ISSUER: Final = f"http://127.0.0.1:8000{PATH}"
DEFAULT_AUDIENCE: Final = "lianxin"
DIRECTORY: Final = Path(".data/dev-issuer")
JWKS_FILE: Final = "jwks.json"
LIFETIME: Final = timedelta(hours=12)
ALGORITHM: Final = "ES256"


class Refused(Exception):
    """The development issuer, or a setting of its kind, outside development."""


class OidcSettings(Protocol):
    """The settings of a service that concern tokens."""

    @property
    def environment(self) -> str: ...

    @property
    def oidc_issuer(self) -> str: ...

    @property
    def oidc_jwks_url(self) -> str: ...


def refuse_development_issuer(settings: OidcSettings) -> None:
    """Call it before a service starts: outside development only a real issuer will do.

    Raises :class:`Refused` with the sentence to show.
    """
    if settings.environment == DEVELOPMENT:
        return
    issuer, keys = urlsplit(settings.oidc_issuer), urlsplit(settings.oidc_jwks_url)
    where = f"ENVIRONMENT={settings.environment}"
    for name, url in (("OIDC_ISSUER", issuer), ("OIDC_JWKS_URL", keys)):
        if PATH.strip("/") in url.path.split("/"):
            raise Refused(f"{name} names the development issuer, which {where} does not allow.")
        if url.scheme != "https":
            # OpenID Connect Discovery 1.0, section 3: both are https URLs.
            raise Refused(f"{name} must be an https URL with {where}.")


class DevelopmentIssuer:
    """Signs tokens with a key that nobody else should trust."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        issuer: str = DEFAULT_ISSUER,
        audience: str = DEFAULT_AUDIENCE,
        ports: Ports | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self._key = key
        self._ports = ports or Ports()
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._kid = f"development-{public['x'][:8]}"
        self._public = {**public, "kid": self._kid, "use": "sig", "alg": ALGORITHM}

    @classmethod
    def generate(cls, **settings: Any) -> DevelopmentIssuer:
        """An issuer with a new key in memory, for tests."""
        return cls(ec.generate_private_key(ec.SECP256R1()), **settings)

    @classmethod
    def at(cls, directory: Path = DIRECTORY, **settings: Any) -> DevelopmentIssuer:
        """The issuer whose key is kept in ``directory``; made there the first time."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = directory / "key.pem"
        if not file.exists():
            write_new(file, pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refused(f"{file} is not a key of ours; remove it and start again.")
        found = cls(key, **settings)
        _replace(directory / JWKS_FILE, json.dumps(found.jwks()).encode())
        return found

    def jwks(self) -> dict[str, Any]:
        """The JWKS document (RFC 7517)."""
        return {"keys": [self._public]}

    def discovery(self) -> dict[str, Any]:
        """The OpenID provider metadata, as far as we are one."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/{JWKS_FILE}",
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        }

    def token(
        self,
        *,
        person: str,
        hospital: str,
        roles: Iterable[str],
        departments: Iterable[str] = (),
        lifetime: timedelta = LIFETIME,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """A token; ``claims`` replace the usual ones, None leaves one out (for tests)."""
        now = self._ports.clock.now()
        usual = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": person,
            "hospital": hospital,
            "roles": [str(r) for r in roles],
            "departments": list(departments),
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": self._ports.ids.new(),
        }
        all = {k: v for k, v in {**usual, **(claims or {})}.items() if v is not None}
        return jwt.encode(all, self._key, ALGORITHM, headers={"kid": self._kid})


def router(issuer: DevelopmentIssuer) -> APIRouter:
    """Its documents, for an application to include with the prefix ``/dev-issuer``."""
    routes = APIRouter()

    @routes.get("/.well-known/openid-configuration", include_in_schema=False)
    async def discovery() -> dict[str, Any]:
        return issuer.discovery()

    @routes.get(f"/{JWKS_FILE}", include_in_schema=False)
    async def jwks() -> dict[str, Any]:
        return issuer.jwks()

    return routes


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_new(file: Path, content: bytes) -> None:
    """Create ``file`` for its owner alone, whole or not at all; an existing one stays."""
    # Threads of one process may want the same one, too.
    draft = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    try:
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(draft, file)
    finally:
        draft.unlink()


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(file)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print a token, or the path of the JWKS document."""
    parser = argparse.ArgumentParser(prog="python -m libs.common.dev_issuer")
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("jwks", help="make the key if there is none; print the JWKS file's path")
    token = commands.add_parser("token", help="print a token")
    token.add_argument("--role", action="append", required=True, choices=[str(r) for r in Role])
    token.add_argument("--person", required=True)
    token.add_argument("--hospital", default="h1")
    token.add_argument("--department", action="append", default=[])
    token.add_argument("--minutes", type=int, default=int(LIFETIME.total_seconds() // 60))
    given = parser.parse_args(arguments)
    if environment.get("ENVIRONMENT") != DEVELOPMENT:
        print(
            "The development issuer works only with ENVIRONMENT=development; "
            "elsewhere ask your OIDC provider for a token.",
            file=sys.stderr,
        )
        return 1
    issuer = DevelopmentIssuer.at(
        given.directory,
        issuer=environment.get("OIDC_ISSUER") or DEFAULT_ISSUER,
        audience=environment.get("OIDC_AUDIENCE") or DEFAULT_AUDIENCE,
    )
    if given.command == "jwks":
        print(given.directory / JWKS_FILE)
        return 0
    print(
        issuer.token(
            person=given.person,
            hospital=given.hospital,
            roles=given.role,
            departments=given.department,
            lifetime=timedelta(minutes=given.minutes),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
