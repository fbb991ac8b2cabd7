"""Who may sign where, and with which key?"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from libs.common import detached_jws
from libs.common.dev_issuer import Refused
from services.prescriptions.ports import SignatureRequest
from services.prescriptions.senders import signer_of
from services.prescriptions.senders.local_keys import LocalKeys
from services.prescriptions.senders.signing_service import SigningService
from services.prescriptions.settings import Settings
from tests.unit.prescriptions.given import NOW


def asked(person: str = "dr1", hospital: str = "h1") -> SignatureRequest:
    return SignatureRequest(
        hospital=hospital, person=person, role="doctor", at=NOW, payload=b"text"
    )


def test_keys_of_our_own_are_for_development_only(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="SIGNING_URL must name"):
        signer_of(Settings(environment="production", signing_keys_dir=tmp_path))
    here = Settings(environment="development", signing_keys_dir=tmp_path)
    assert isinstance(signer_of(here), LocalKeys)
    there = Settings(environment="production", signing_url="https://ca.hospital.example/sign")
    assert isinstance(signer_of(there), SigningService)


@pytest.mark.parametrize("url", ["http://ca.hospital.example/sign", "ca", "file:///tmp/ca"])
def test_a_signing_service_is_reached_over_tls(url: str) -> None:
    with pytest.raises(ValidationError, match="SIGNING_URL must be an https URL"):
        Settings(environment="production", signing_url=url)


async def test_each_person_has_one_key_that_only_the_owner_of_the_files_reads(
    tmp_path: Path,
) -> None:
    signer = LocalKeys(tmp_path / "keys")
    made: list[Any] = [
        await signer.sign(a)
        for a in (asked(), asked(), asked("dr2"), asked(hospital="h2"), asked("../../etc/x"))
    ]
    assert made[0].jwk == made[1].jwk
    assert len({m.jwk["x"] for m in made}) == 4
    header = detached_jws.verify(made[0].jws, b"text", made[0].jwk)
    assert (header["alg"], header["sub"], header["role"]) == ("ES256", "dr1", "doctor")
    assert header["iat"] == int(NOW.timestamp())
    files = list((tmp_path / "keys").iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
