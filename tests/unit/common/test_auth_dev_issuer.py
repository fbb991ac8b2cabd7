"""Does the development issuer work on a developer's machine, and nowhere else?"""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import httpx
import jwt
import pytest
from fastapi import FastAPI

from libs.common import dev_issuer
from libs.common.auth import TokenVerifier
from libs.common.clock import SystemClock
from libs.common.dev_issuer import DevelopmentIssuer, Refused, refuse_development_issuer
from libs.common.jwks import fetch_keys

HERE = {"ENVIRONMENT": "development"}


@dataclass(frozen=True)
class Settings:
    environment: str = "production"
    oidc_issuer: str = "https://id.hospital.example/realms/main"
    oidc_jwks_url: str = "https://id.hospital.example/realms/main/certs"


def token_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert dev_issuer.main(arguments, HERE) == 0
    return capsys.readouterr().out.strip()


async def test_a_printed_token_passes_with_the_key_file_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--directory", str(tmp_path / "keys")]
    words = ["--role", "doctor", "--person", "p1", "--hospital", "h2", "--department", "cardio"]
    token = token_for([*where, "token", *words], capsys)
    file = Path(token_for([*where, "jwks"], capsys))
    verifier = TokenVerifier(
        issuer=dev_issuer.DEFAULT_ISSUER,
        audience=dev_issuer.DEFAULT_AUDIENCE,
        keys=fetch_keys(file.as_uri()),
        clock=SystemClock(),
    )
    principal = await verifier.verify(token)
    assert (principal.hospital, principal.actor.person) == ("h2", "p1")
    assert principal.actor.roles == {"doctor"}
    assert principal.actor.departments == {"cardio"}


def test_the_key_is_kept_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    first = DevelopmentIssuer.at(tmp_path / "keys")
    again = DevelopmentIssuer.at(tmp_path / "keys")
    assert first.jwks() == again.jwks()
    assert stat.S_IMODE((tmp_path / "keys" / "key.pem").stat().st_mode) == 0o600
    assert sorted(f.name for f in (tmp_path / "keys").iterdir()) == ["jwks.json", "key.pem"]
    assert "d" not in first.jwks()["keys"][0]


def test_of_two_processes_that_make_the_key_at_once_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    dev_issuer.write_new(file, b"first")
    dev_issuer.write_new(file, b"second")
    assert file.read_bytes() == b"first"


@pytest.mark.parametrize("environment", [{}, {"ENVIRONMENT": "production"}, {"ENVIRONMENT": ""}])
def test_it_prints_no_token_outside_development(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--directory", str(tmp_path / "keys")]
    code = dev_issuer.main([*where, "token", "--role", "ops", "--person", "x"], environment)
    said = capsys.readouterr()
    assert code == 1
    assert said.out == ""
    assert "ENVIRONMENT=development" in said.err
    assert not (tmp_path / "keys").exists()


def test_a_real_issuer_may_serve_production() -> None:
    refuse_development_issuer(Settings())


@pytest.mark.parametrize(
    "settings",
    [
        Settings(oidc_issuer="https://lianxin.hospital.example/dev-issuer"),
        Settings(oidc_issuer="https://lianxin.hospital.example/dev-issuer/"),
        Settings(oidc_jwks_url="https://lianxin.hospital.example/dev-issuer/jwks.json"),
        Settings(oidc_jwks_url="file:///var/lib/jwks.json"),
        Settings(oidc_issuer="http://id.hospital.example"),
        Settings(oidc_jwks_url="http://id.hospital.example/certs"),
        Settings(oidc_issuer=""),
        Settings(environment="staging", oidc_jwks_url=""),
    ],
)
def test_a_service_outside_development_refuses_to_start_with_it(settings: Settings) -> None:
    with pytest.raises(Refused, match="OIDC_"):
        refuse_development_issuer(settings)


def test_development_takes_any_issuer() -> None:
    refuse_development_issuer(
        Settings("development", dev_issuer.DEFAULT_ISSUER, "file:///tmp/jwks.json")
    )


async def test_its_documents_are_served_for_clients_that_discover_them() -> None:
    issuer = DevelopmentIssuer.generate()
    app = FastAPI()
    app.include_router(dev_issuer.router(issuer), prefix=dev_issuer.PATH)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        found = (await client.get("/dev-issuer/.well-known/openid-configuration")).json()
        keys = (await client.get(found["jwks_uri"])).json()
    assert found["issuer"] == issuer.issuer
    assert keys == issuer.jwks()


def test_a_token_says_when_it_ends() -> None:
    token = DevelopmentIssuer.generate().token(person="p", hospital="h1", roles=["ops"])
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 12 * 3600


def test_threads_that_write_one_file_at_a_time_agree_on_what_was_first(tmp_path: Path) -> None:
    file, all = tmp_path / "key", Barrier(8)

    def write(n: int) -> bytes:
        all.wait()
        dev_issuer.write_new(file, bytes([n]))
        return file.read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(write, range(8)))) == 1
    assert list(tmp_path.iterdir()) == [file]
