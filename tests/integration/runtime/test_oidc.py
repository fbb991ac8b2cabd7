"""Does a service take the tokens of a hospital's OIDC provider, over TLS, and no others?

A provider of our own with a certificate that only its own authority vouches for. What tokens
must hold is tried in ``tests/unit/common/test_auth.py``; here a service runs as an installation
runs it, with ``ENVIRONMENT=production``.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from libs.common.auth import TokenVerifier
from libs.common.clock import SystemClock
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.places import free_ports
from libs.common.devstack.stack import Stack
from libs.common.jwks import COOL_DOWN, KeysUnavailable, fetch_keys
from tests.support.secured import certificate
from tests.support.toy import eventually

REPLICA = 5
PATH = "/v1/groups"


@dataclass
class Provider:
    """``up()`` and ``down()``; ``issuer`` signs with its key of today."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    asked: int = 0
    _server: ThreadingHTTPServer | None = None

    def __post_init__(self) -> None:
        self.ca, self._cert = certificate(self.folder)
        self.issuer = DevelopmentIssuer.generate(issuer=self.url)
        self.keys: list[Any] = self.issuer.jwks()["keys"]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/realms/hospital"

    def new_key(self) -> DevelopmentIssuer:
        """Published beside the old one, as providers do."""
        self.issuer = DevelopmentIssuer.generate(issuer=self.url)
        self.keys += self.issuer.jwks()["keys"]
        return self.issuer

    def up(self) -> None:
        provider = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = json.dumps({"keys": provider.keys}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    made = Provider(tmp_path / "provider")
    yield made
    made.down()


def token(issuer: DevelopmentIssuer, **more: Any) -> str:
    return issuer.token(person="n-1", hospital="h1", roles=["nurse"], departments=["NEURO"], **more)


class Ahead(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


async def test_keys_come_over_tls_from_whom_the_authority_vouches_for_and_new_ones_are_found(
    provider: Provider, tmp_path: Path
) -> None:
    provider.up()
    clock = Ahead()

    def verifier(ca: Path | None) -> TokenVerifier:
        keys = fetch_keys(f"{provider.url}/certs", ca)
        return TokenVerifier(issuer=provider.url, audience="lianxin", keys=keys, clock=clock)

    for stranger in (None, certificate(tmp_path / "another")[0]):
        with pytest.raises(KeysUnavailable):
            await verifier(stranger).verify(token(provider.issuer))
    ours = verifier(provider.ca)
    old = token(provider.issuer)
    assert (await ours.verify(old)).hospital == "h1"
    clock.seconds += COOL_DOWN
    new = token(provider.new_key())
    before = provider.asked
    assert (await ours.verify(new)).hospital == "h1"
    assert (await ours.verify(old)).hospital == "h1"
    assert provider.asked == before + 1


@pytest.fixture
def url(stack: Stack, provider: Provider) -> Iterator[str]:
    """Enrollment in production, whose provider is not up yet."""
    told = {
        "ENVIRONMENT": "production",
        "MONGO_DATABASE": "test-oidc",
        "KAFKA_GROUP": "test-oidc",
        "OIDC_ISSUER": provider.url,
        "OIDC_AUDIENCE": "lianxin",
        "OIDC_JWKS_URL": f"{provider.url}/certs",
        "OIDC_CA": str(provider.ca),
        "LINGER_SECONDS": "0",
    }
    stack.migrate("enrollment", environment=told)
    stack.start_service("enrollment", replica=REPLICA, environment=told)
    yield stack.service_url(f"enrollment-{REPLICA}")
    stack.remove(f"enrollment-{REPLICA}")


async def test_a_service_waits_for_its_provider_outlives_it_and_takes_no_other_token(
    url: str, provider: Provider
) -> None:
    mint = provider.issuer
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:

        async def asks(token: str) -> tuple[int, str]:
            answer = await http.get(PATH, headers={"Authorization": f"Bearer {token}"})
            return answer.status_code, answer.json().get("reason", "")

        assert (await asks(token(mint)))[0] == 503, "it is away: nobody can be known"
        assert (await http.get("/readyz")).status_code == 200, "others may be served"
        provider.up()

        async def known() -> bool:
            return (await asks(token(mint)))[0] != 503

        await eventually(known, 20)
        assert (await asks(token(mint)))[0] == 200
        public = mint.jwks()["keys"][0]["x"]
        kid = {"kid": mint.jwks()["keys"][0]["kid"]}
        claims = jwt.decode(token(mint), options={"verify_signature": False})
        others = {
            token(mint, claims={"iss": f"{provider.url}-other"}): "token_foreign",
            token(mint, claims={"aud": "another"}): "token_foreign",
            token(mint, lifetime=timedelta(minutes=-5)): "token_expired",
            token(DevelopmentIssuer.generate(issuer=provider.url)): "token_invalid",
            jwt.encode(claims, "", "none", headers=kid): "token_invalid",
            jwt.encode(claims, public, "HS256", headers=kid): "token_invalid",
        }
        for wrong, reason in others.items():
            assert await asks(wrong) == (401, reason)
        provider.down()
        assert (await asks(token(mint)))[0] == 200, "the keys that it has are good"
