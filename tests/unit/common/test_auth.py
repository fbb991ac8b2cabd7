"""Which tokens do we trust, and what do we say of the others?"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from libs.common import auth, jwks
from libs.common.auth import NotAuthenticated, TokenReason, TokenVerifier
from libs.common.clock import Ports
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.jwks import KeysUnavailable
from tests.support.http_sample import CountedIds, SetClock


class Issuer:
    """An issuer whose key set can be changed, broken and counted."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.ports = Ports(clock=self.clock, ids=CountedIds())
        self.mint = DevelopmentIssuer.generate(ports=self.ports)
        self.document: dict[str, Any] = self.mint.jwks()
        self.away = False
        self.asked = 0
        self.verifier = TokenVerifier(
            issuer=self.mint.issuer,
            audience=self.mint.audience,
            keys=self.fetch,
            clock=self.clock,
        )

    async def fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("away")
        return self.document

    def token(self, **claims: Any) -> str:
        return self.mint.token(
            person="p1", hospital="h1", roles=["doctor"], departments=["cardio"], claims=claims
        )

    async def reason(self, token: str) -> TokenReason:
        with pytest.raises(NotAuthenticated) as refused:
            await self.verifier.verify(token)
        return refused.value.reason


async def test_a_good_token_names_its_person_hospital_roles_and_departments() -> None:
    issuer = Issuer()
    principal = await issuer.verifier.verify(issuer.token(roles=["doctor", "offline_access"]))
    assert principal.hospital == "h1"
    assert principal.actor.person == "p1"
    assert principal.actor.roles == {"doctor"}
    assert principal.actor.departments == {"cardio"}
    assert principal.expires == issuer.clock.at + timedelta(hours=12)


async def test_an_expired_token_is_refused_only_after_the_leeway() -> None:
    issuer = Issuer()
    token = issuer.token()
    issuer.clock.advance(12 * 3600 + 29)
    await issuer.verifier.verify(token)
    issuer.clock.advance(1)
    assert await issuer.reason(token) is TokenReason.EXPIRED


async def test_a_token_of_the_future_is_refused_until_the_leeway() -> None:
    issuer = Issuer()
    token = issuer.token(nbf=int(issuer.clock.at.timestamp()) + 31)
    assert await issuer.reason(token) is TokenReason.NOT_YET_VALID
    issuer.clock.advance(1)
    await issuer.verifier.verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-app"},
        {"aud": ["another-app", "a-third"]},
    ],
)
async def test_a_token_meant_for_others_is_foreign(claims: dict[str, Any]) -> None:
    issuer = Issuer()
    assert await issuer.reason(issuer.token(**claims)) is TokenReason.FOREIGN


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a b"},
        {"sub": "h2/p1"},
        {"hospital": None},
        {"hospital": "h1/p2"},
        {"hospital": ""},
        {"hospital": ["h1"]},
        {"roles": None},
        {"roles": "doctor"},
        {"roles": [1]},
        {"departments": "cardio"},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": None},
        {"nbf": "never"},
        {"iss": None},
        {"aud": None},
    ],
)
async def test_a_token_without_what_we_need_is_invalid(claims: dict[str, Any]) -> None:
    issuer = Issuer()
    reason = await issuer.reason(issuer.token(**claims))
    assert reason is TokenReason.INVALID


async def test_a_forged_token_is_invalid() -> None:
    issuer = Issuer()
    head, payload, signature = issuer.token().split(".")
    other = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other["roles"] = ["ops"]
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    assert await issuer.reason(f"{head}.{forged}.{signature}") is TokenReason.INVALID


async def test_a_token_of_another_key_under_our_keys_name_is_invalid() -> None:
    issuer = Issuer()
    kid = issuer.document["keys"][0]["kid"]
    stranger = ec.generate_private_key(ec.SECP256R1())
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    forged = jwt.encode(claims, stranger, "ES256", headers={"kid": kid})
    assert await issuer.reason(forged) is TokenReason.INVALID


async def test_neither_none_nor_a_shared_secret_signs_anything() -> None:
    issuer = Issuer()
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    kid = issuer.document["keys"][0]["kid"]
    # The classic trick: our public key, which all know, as the secret of an HMAC.
    public = issuer.document["keys"][0]
    secret = base64.urlsafe_b64decode(public["x"] + "==")
    unsigned = jwt.encode(claims, "", "none", headers={"kid": kid})
    shared = jwt.encode(claims, secret, "HS256", headers={"kid": kid})
    assert await issuer.reason(unsigned) is TokenReason.INVALID
    assert await issuer.reason(shared) is TokenReason.INVALID
    assert issuer.asked == 0  # they are not even worth a look at the keys


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "x" * 9000, "ä.ö.ü", "e30.e30.", "\ud800.a.b"])
async def test_what_is_no_token_is_invalid(token: str) -> None:
    assert await Issuer().reason(token) is TokenReason.INVALID


@pytest.mark.parametrize("header", [{"alg": []}, {"alg": {}}, {"alg": None}, {"kid": ["x"]}, {}])
async def test_an_odd_header_is_an_invalid_token(header: dict[str, Any]) -> None:
    whole = json.dumps({"alg": "ES256", **header} if header else {}).encode()
    start = base64.urlsafe_b64encode(whole).decode().rstrip("=")
    assert await Issuer().reason(f"{start}.e30.e30") is TokenReason.INVALID


async def test_rsa_keys_without_an_algorithm_of_their_own_serve_rs256() -> None:
    issuer = Issuer()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    issuer.document = {"keys": [{**public, "kid": "r"}]}
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    good = jwt.encode(claims, key, "RS256", headers={"kid": "r"})
    assert (await issuer.verifier.verify(good)).actor.person == "p1"


def test_keys_that_could_not_verify_a_token_are_passed_over() -> None:
    document = DevelopmentIssuer.generate().jwks()
    good = document["keys"][0]
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}
    encryption = {**good, "use": "enc", "kid": "e"}
    found = jwks.usable_keys({"keys": [secret, encryption, {"kty": "odd"}, "text", good]})
    assert [k.key_id for k in found] == [good["kid"]]


async def test_many_tokens_cost_one_reading_of_the_keys() -> None:
    issuer = Issuer()
    token = issuer.token()
    await asyncio.gather(*(issuer.verifier.verify(token) for _ in range(20)))
    assert issuer.asked == 1


async def test_a_new_key_is_found_and_unknown_ones_do_not_make_us_ask_all_the_time() -> None:
    issuer = Issuer()
    await issuer.verifier.verify(issuer.token())
    newer = DevelopmentIssuer.generate(ports=issuer.ports)
    token = newer.token(person="p2", hospital="h1", roles=["nurse"])
    assert await issuer.reason(token) is TokenReason.INVALID  # within the cool-down
    assert issuer.asked == 1
    issuer.clock.advance(jwks.COOL_DOWN)
    issuer.document = {"keys": [*issuer.document["keys"], *newer.jwks()["keys"]]}
    assert (await issuer.verifier.verify(token)).actor.person == "p2"
    assert issuer.asked == 2
    stranger = DevelopmentIssuer.generate(ports=issuer.ports)
    for _ in range(5):
        await issuer.reason(stranger.token(person="x", hospital="h1", roles=["ops"]))
    assert issuer.asked == 2


async def test_the_keys_that_we_have_outlive_an_issuer_that_is_away() -> None:
    issuer = Issuer()
    token = issuer.token(exp=int(issuer.clock.at.timestamp()) + 10**6)
    await issuer.verifier.verify(token)
    issuer.away = True
    for _ in range(3):
        issuer.clock.advance(jwks.MAX_AGE + 1)
        await issuer.verifier.verify(token)
        await asyncio.sleep(0)  # lets the reading behind our back fail
    assert issuer.asked == 4


async def test_a_withdrawn_key_is_forgotten_when_the_keys_have_become_old() -> None:
    issuer = Issuer()
    token = issuer.token()
    await issuer.verifier.verify(token)
    issuer.document = DevelopmentIssuer.generate().jwks()
    issuer.clock.advance(jwks.MAX_AGE + 1)
    await issuer.verifier.verify(token)  # answered from what we have, while we ask
    await asyncio.sleep(0)
    assert await issuer.reason(token) is TokenReason.INVALID


async def test_a_known_token_is_not_verified_again_but_its_time_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = Issuer()
    token = issuer.token()
    await issuer.verifier.verify(token)  # reads the keys
    first = await issuer.verifier.verify(token)
    verified: list[str] = []
    inner = issuer.verifier._claims

    async def counted(token: str) -> Mapping[str, Any]:
        verified.append(token)
        return await inner(token)

    monkeypatch.setattr(issuer.verifier, "_claims", counted)
    assert await issuer.verifier.verify(token) == first
    assert verified == []
    other = issuer.token(sub="p2")
    assert (await issuer.verifier.verify(other)).actor.person == "p2"
    assert verified == [other]
    issuer.clock.advance(13 * 3600)
    assert await issuer.reason(token) is TokenReason.EXPIRED


async def test_the_tokens_that_are_kept_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "TOKENS_KEPT", 3)
    issuer = Issuer()
    for n in range(10):
        await issuer.verifier.verify(issuer.token(sub=f"p{n}"))
    assert len(issuer.verifier._known) <= 3


async def test_a_refused_token_is_not_kept() -> None:
    issuer = Issuer()
    await issuer.reason(issuer.token(aud="elsewhere"))
    await issuer.reason(DevelopmentIssuer.generate().token(person="x", hospital="h1", roles=[]))
    assert issuer.verifier._known == {}


async def test_without_any_key_we_can_not_know_and_recover_by_ourselves() -> None:
    issuer = Issuer()
    issuer.away = True
    with pytest.raises(KeysUnavailable):
        await issuer.verifier.verify(issuer.token())
    issuer.away = False
    issuer.clock.advance(jwks.COOL_DOWN_AT_START)
    assert (await issuer.verifier.verify(issuer.token())).hospital == "h1"


async def test_an_issuer_that_never_comes_to_an_end_is_left_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "READ_SECONDS", 0.01)
    issuer = Issuer()
    answers = [asyncio.Event().wait, issuer.fetch]

    async def fetch() -> Any:
        return await answers.pop(0)()

    keys = jwks.Keys(fetch, issuer.clock)
    async with asyncio.timeout(5):
        with pytest.raises(KeysUnavailable):
            await keys.find("k", "ES256")
        issuer.clock.advance(jwks.COOL_DOWN_AT_START)
        await keys.find("k", "ES256")
    assert keys.generation == 1


async def test_an_impatient_caller_does_not_end_the_reading_for_the_others() -> None:
    issuer = Issuer()
    gate = asyncio.Event()
    inner = issuer.fetch

    async def slow() -> Mapping[str, Any]:
        await gate.wait()
        return await inner()

    verifier = TokenVerifier(
        issuer=issuer.mint.issuer, audience=issuer.mint.audience, keys=slow, clock=issuer.clock
    )
    first = asyncio.create_task(verifier.verify(issuer.token()))
    second = asyncio.create_task(verifier.verify(issuer.token()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert (await second).actor.person == "p1"
    assert issuer.asked == 1


async def test_a_token_without_a_key_id_is_taken_only_if_one_key_fits() -> None:
    issuer = Issuer()
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "alg": "ES256"}
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    token = jwt.encode(claims, key, "ES256")
    issuer.document = {"keys": [public]}
    assert (await issuer.verifier.verify(token)).actor.person == "p1"
    both = Issuer()
    both.document = {"keys": [public, *both.document["keys"]]}
    assert await both.reason(token) is TokenReason.INVALID


async def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": []}))
    assert await jwks.fetch_keys(file.as_uri())() == {"keys": []}
    file.write_text("[]")
    with pytest.raises(ValueError, match="JWKS"):
        await jwks.fetch_keys(file.as_uri())()
    file.write_text(json.dumps({"keys": ["x" * jwks.MAX_BYTES]}))
    with pytest.raises(ValueError, match="large"):
        await jwks.fetch_keys(file.as_uri())()


async def test_keys_are_read_over_http_and_redirects_are_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/moved":
            return httpx.Response(302, headers={"Location": "https://evil.example/jwks"})
        return httpx.Response(200, json={"keys": []})

    usual = httpx.AsyncClient
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **k: usual(transport=httpx.MockTransport(answer), **k)
    )
    assert await jwks.fetch_keys("https://id.example/jwks")() == {"keys": []}
    with pytest.raises(httpx.HTTPStatusError):
        await jwks.fetch_keys("https://id.example/moved")()
