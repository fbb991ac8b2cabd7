"""What happens when the hospital's signing service signs, refuses, errs or is away?"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common import detached_jws
from services.prescriptions.ports import SignatureRequest, SigningFailed
from services.prescriptions.senders.signing_service import SigningService
from services.prescriptions.settings import Settings
from tests.integration.interop.authority import Authority as Certificates
from tests.integration.prescriptions.given import Hospital, decide, review
from tests.integration.prescriptions.replicas import Replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Authority:
    """A signing service over HTTP, as docs/signatures.md describes it."""

    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    delay: float = 0.0
    header: dict[str, Any] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        body = json.loads(await reader.readexactly(length))
        self.asked.append(body)
        await asyncio.sleep(self.delay)
        content = json.dumps(self.change(self.signed(body))).encode()
        writer.write(
            f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            + content
        )
        writer.close()

    def signed(self, body: dict[str, Any]) -> dict[str, Any]:
        key = self.keys.setdefault(body["person"], ec.generate_private_key(ec.SECP256R1()))
        payload = base64.urlsafe_b64decode(body["payload"] + "==")
        header = {"kid": f"ca-{body['person']}", **body["header"], **self.header}
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {"jws": detached_jws.sign(payload, key, "ES256", header), "jwk": jwk}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(service: Replicas) -> AsyncIterator[Authority]:
    """The service with the hospital's signing service in place of keys of its own."""
    authority = Authority()
    server = await asyncio.start_server(authority.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = service.apps[0].state.runtime.settings.model_copy(
        update={"signing_url": f"http://127.0.0.1:{port}/sign", "signing_timeout": 0.5}
    )
    before = [app.state.adapters.signer for app in service.apps]
    for app in service.apps:
        app.state.adapters.signer = SigningService(settings)
    yield authority
    for app, adapter in zip(service.apps, before, strict=True):
        app.state.adapters.signer = adapter
    server.close()
    await server.wait_closed()


@contextmanager
def having(authority: Authority, **changes: Any) -> Iterator[None]:
    before = {name: getattr(authority, name) for name in changes}
    for name, value in changes.items():
        setattr(authority, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(authority, name, value)


async def test_the_signing_service_signs_for_the_person_who_acts(
    hospital: Hospital, authority: Authority
) -> None:
    await hospital.prescribe()
    authority.asked.clear()
    await hospital.renewed()
    assert [(a["hospital"], a["person"], a["role"]) for a in authority.asked] == [
        (hospital.id, "dr1", "doctor"),
        (hospital.id, "ph1", "pharmacist"),
    ]
    assert len({a["payload"] for a in authority.asked}) == 1
    [row] = await hospital.service.rows("refills", hospital.id)
    kids = [s["kid"] for s in row["forms"][0]["signatures"]]
    assert kids == ["ca-dr1", "ca-ph1"]


async def test_what_a_rule_refuses_is_not_signed(hospital: Hospital, authority: Authority) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    authority.asked.clear()
    assert (await decide(hospital.doctor("dr9", "surgery"), refill, "approve")).status_code == 404
    stale = {**refill, "version": 7}
    assert (await decide(hospital.doctor(), stale, "approve")).status_code == 412
    declined = await decide(hospital.doctor(), refill, "decline", reason="not_appropriate")
    assert declined.status_code == 200
    assert authority.asked == []


def another_key(answer: dict[str, Any]) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {**answer, "jwk": jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)}


FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "answers 500": ({"status": 500}, 503, "signing_unavailable"),
    "redirects": ({"status": 302}, 503, "signing_unavailable"),
    "is slow": ({"delay": 2.0}, 503, "signing_unavailable"),
    "answers something else": ({"change": lambda a: {"ok": True}}, 503, "signing_unavailable"),
    "answers too much": (
        {"change": lambda a: {**a, "x": "x" * 40_000}},
        503,
        "signing_unavailable",
    ),
    "knows no certificate": ({"status": 404}, 422, "no_signing_certificate"),
    "names another key": ({"change": another_key}, 503, "signature_not_taken"),
    "signs as somebody else": ({"header": {"sub": "dr2"}}, 503, "signature_not_taken"),
    "signs in another role": ({"header": {"role": "nurse"}}, 503, "signature_not_taken"),
    "signs at another time": ({"header": {"iat": 1}}, 503, "signature_not_taken"),
    "names a key that can't be one": ({"header": {"kid": "a/b"}}, 503, "signature_not_taken"),
    "signs another text": (
        {"change": lambda a: {**a, "jws": a["jws"][:-6] + "AAAAAA"}},
        503,
        "signature_not_taken",
    ),
    "signs by an algorithm that we do not verify": (
        {"change": lambda a: {**a, "jws": with_algorithm(a["jws"], "SM2")}},
        503,
        "signature_not_taken",
    ),
}


def with_algorithm(jws: str, algorithm: str) -> str:
    header = {**detached_jws.header_of(jws), "alg": algorithm}
    return f"{detached_jws.text(json.dumps(header).encode())}..{jws.split('.')[2]}"


@pytest.mark.parametrize("what", FAULTS)
async def test_when_it_errs_nothing_is_saved_and_the_step_can_be_taken_again(
    hospital: Hospital, authority: Authority, what: str
) -> None:
    fault, status, reason = FAULTS[what]
    await hospital.prescribe()
    refill = await hospital.asked()
    # A key of the test's own: what was signed before pins the persons' keys.
    doctor = hospital.doctor(f"dr-{len(authority.keys)}")
    before = await hospital.service.rows("refills", hospital.id)
    with having(authority, **fault):
        answer = await decide(doctor, refill, "approve")
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert answer.json()["detail"]
    if status == 503:
        assert answer.headers["Retry-After"]
    assert await hospital.service.rows("refills", hospital.id) == before
    assert await hospital.service.rows("signing_keys", hospital.id) == []
    again = await decide(doctor, refill, "approve")
    assert (again.status_code, again.json()["status"]) == (200, "waiting_pharmacist")
    with having(authority, **fault):
        answer = await review(hospital.pharmacist(), again.json(), "pass")
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    [row] = await hospital.service.rows("refills", hospital.id)
    assert (row["status"], len(row["forms"][0]["signatures"])) == ("waiting_pharmacist", 1)
    passed = await review(hospital.pharmacist(), again.json(), "pass")
    assert (passed.status_code, passed.json()["status"]) == (200, "effective")


async def test_a_key_that_changes_under_its_name_is_not_taken(
    hospital: Hospital, authority: Authority
) -> None:
    await hospital.prescribe()
    await hospital.renewed()
    refill = await hospital.asked()
    del authority.keys["dr1"]
    answer = await decide(hospital.doctor(), refill, "approve")
    assert (answer.status_code, answer.json()["reason"]) == (503, "signature_not_taken")


async def test_a_key_of_the_doctors_is_not_the_pharmacists(
    hospital: Hospital, authority: Authority
) -> None:
    await hospital.prescribe()
    approved = (await decide(hospital.doctor(), await hospital.asked(), "approve")).json()
    authority.keys["ph1"] = authority.keys["dr1"]
    with having(authority, header={"kid": "ca-dr1"}):
        answer = await review(hospital.pharmacist(), approved, "pass")
    assert (answer.status_code, answer.json()["reason"]) == (422, "key_of_another")


async def test_when_it_is_away_nothing_is_saved(hospital: Hospital, authority: Authority) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    app = hospital.service.apps[0]
    settings = app.state.runtime.settings
    here = app.state.adapters.signer
    app.state.adapters.signer = SigningService(
        settings.model_copy(update={"signing_url": "http://127.0.0.1:9/sign"})
    )
    try:
        answer = await decide(hospital.doctor(), refill, "approve")
    finally:
        app.state.adapters.signer = here
    assert (answer.status_code, answer.json()["reason"]) == (503, "signing_unavailable")
    assert "未签署" in answer.json()["detail"]
    [row] = await hospital.service.rows("refills", hospital.id)
    assert (row["status"], row["forms"]) == ("waiting_doctor", [])


async def test_a_client_certificate_that_was_renewed_is_shown_without_a_restart(
    tmp_path: Path,
) -> None:
    ours = Certificates(tmp_path, "ours")
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ours.path))
    server_tls.load_cert_chain(ours.issue("server"))
    server_tls.verify_mode = ssl.CERT_REQUIRED
    shown: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        peer = writer.get_extra_info("ssl_object").getpeercert()
        shown.append(dict(part[0] for part in peer["subject"])["commonName"])
        writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    mine = tmp_path / "tls.crt"
    ours.issue("before").replace(mine)
    server = await asyncio.start_server(serve, "localhost", 0, ssl=server_tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        signing = SigningService(
            Settings(
                environment="development",
                kafka_bootstrap_servers="nowhere:1",
                mongo_url="mongodb://nowhere",
                signing_url=f"https://localhost:{port}/sign",
                signing_ca=ours.path,
                signing_client_cert=mine,
            )
        )
        asked = SignatureRequest(
            hospital="h1", person="d1", role="doctor", at=datetime.now(UTC), payload=b"x"
        )
        for name in ("before", "after"):
            ours.issue(name).replace(mine)
            with pytest.raises(SigningFailed):
                await signing.sign(asked)
    assert shown == ["before", "after"]
