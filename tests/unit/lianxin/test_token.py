"""Does only a development get tokens from us?"""

from __future__ import annotations

from pathlib import Path

import jwt

from tests.support.command_line import lianxin

ASKED = ("token", "--role", "doctor", "--person", "d-1", "--department", "NEURO")


def test_on_a_developers_machine_there_is_one(tmp_path: Path) -> None:
    said = lianxin(*ASKED, "--directory", str(tmp_path), env={})
    assert said.code == 0
    (token,) = said.out.split()  # in one piece, however long it is
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["hospital"], claims["roles"], claims["departments"]) == (
        *("d-1", "h1", ["doctor"], ["NEURO"]),
    )
    assert claims["iss"] == "http://127.0.0.1:8000/dev-issuer"


def test_elsewhere_the_provider_is_named(tmp_path: Path) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9093", "OIDC_ISSUER": "https://id.hospital.example"}
    said = lianxin(*ASKED, "--directory", str(tmp_path), env=env)
    assert said.code == 2 and "https://id.hospital.example" in said.err
    assert not list(tmp_path.iterdir())
