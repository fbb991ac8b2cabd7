"""Is a signature taken only if it is beyond doubt?"""

from __future__ import annotations

import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from libs.common import detached_jws
from libs.common.detached_jws import Doubt, NotVerified, sign, text, verify

KEY = ec.generate_private_key(ec.SECP256R1())
PAYLOAD = '{"dosage":"每日一次"}'.encode()
HEADER = {"kid": "k1", "sub": "dr1"}
JWS = sign(PAYLOAD, KEY, "ES256", HEADER)


def public(key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


def doubt(jws: str, payload: bytes = PAYLOAD, jwk: dict[str, str] | None = None) -> Doubt:
    with pytest.raises(NotVerified) as raised:
        verify(jws, payload, jwk or public())
    return raised.value.reason


def with_header(**changes: Any) -> str:
    """The JWS, truly signed with another protected header."""
    return sign(PAYLOAD, KEY, "ES256", {**HEADER, **changes})


def test_a_signature_holds_for_its_bytes_and_its_key() -> None:
    assert verify(JWS, PAYLOAD, public()) == {"alg": "ES256", "typ": "JOSE", **HEADER}
    assert JWS.split(".")[1] == ""


@given(st.data())
def test_no_changed_byte_of_the_payload_holds(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PAYLOAD) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda b: b != PAYLOAD[at]))
    assert doubt(JWS, PAYLOAD[:at] + bytes([other]) + PAYLOAD[at + 1 :]) is Doubt.SIGNATURE


@given(st.data())
def test_no_changed_character_of_the_signature_holds(data: st.DataObject) -> None:
    # Python's own decoder passes over strange characters and the last one's spare bits.
    at = data.draw(st.integers(0, len(JWS) - 1))
    other = data.draw(
        st.one_of(st.sampled_from("AB-_ .=\n"), st.characters(max_codepoint=127)).filter(
            lambda c: c != JWS[at]
        )
    )
    doubt(JWS[:at] + other + JWS[at + 1 :])


@given(st.integers(0, len(JWS)), st.sampled_from(" \n=!."))
def test_nothing_can_be_put_in_between(at: int, more: str) -> None:
    assert doubt(JWS[:at] + more + JWS[at:]) is Doubt.MALFORMED


def test_another_key_does_not_verify_it() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert doubt(JWS, jwk=public(other)) is Doubt.SIGNATURE
    larger = ec.generate_private_key(ec.SECP384R1())
    assert doubt(JWS, jwk=public(larger)) is Doubt.KEY
    assert doubt(JWS, jwk={"kty": "EC"}) is Doubt.KEY
    assert doubt(JWS, jwk={"kty": "oct", "k": "AAAA"}) is Doubt.KEY


@pytest.mark.parametrize("algorithm", ["none", "HS256", "SM2", "", None, 7])
def test_an_algorithm_that_we_do_not_verify_is_not_taken(algorithm: object) -> None:
    head = text(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    _, _, signature = JWS.split(".")
    assert doubt(f"{head}..{signature}") is Doubt.ALGORITHM
    assert doubt(f"{head}..") is Doubt.ALGORITHM


def test_a_public_key_is_no_secret_for_a_mac() -> None:
    # The classic confusion: a MAC whose secret is the public key that everybody knows.
    secret = json.dumps(public()).encode()
    head = text(json.dumps({"alg": "HS256", "kid": "k1"}).encode())
    mac = hmac.digest(secret, f"{head}.{text(PAYLOAD)}".encode(), "sha256")
    assert doubt(f"{head}..{text(mac)}") is Doubt.ALGORITHM


def test_what_must_be_understood_and_is_not_is_refused() -> None:
    assert doubt(with_header(crit=["exp"], exp=1)) is Doubt.MALFORMED
    # RFC 7797: the same signature would then be of other bytes.
    head = text(json.dumps({"alg": "ES256", "kid": "k1", "b64": True}).encode())
    assert doubt(f"{head}..{JWS.split('.')[2]}") is Doubt.MALFORMED


@pytest.mark.parametrize("jws", ["", "..", "a.b", "a.b.c", "a..b..c", "e30", "[]..", "x" * 9000])
def test_what_is_no_detached_jws_says_so(jws: str) -> None:
    assert doubt(jws) in (Doubt.MALFORMED, Doubt.ALGORITHM)


def test_a_header_that_is_no_object_is_malformed() -> None:
    with pytest.raises(NotVerified):
        detached_jws.header_of(f"{text(b'[1]')}..AAAA")
    with pytest.raises(NotVerified):
        detached_jws.header_of(f"{text(b'[' * 5000)}..AAAA")
