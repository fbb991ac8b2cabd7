"""Can only those whom the table names reach a route?"""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from libs.common.auth import Role
from libs.common.http.access import (
    ANY_ROLE,
    PUBLIC,
    ROUTE,
    Access,
    AccessTableError,
    Caller,
    Gate,
    route_table,
)
from tests.support.access import Callers, assert_access, client
from tests.support.http_sample import ACCESS, sample


async def test_every_route_is_open_to_its_roles_alone() -> None:
    s = sample()
    await assert_access(
        s.app,
        s.callers,
        {
            ("POST", "/v1/orders"): frozenset({Role.PATIENT, Role.GUARDIAN}),
            ("GET", "/v1/orders"): frozenset({Role.DOCTOR}),
            ("GET", "/v1/orders/{id}"): frozenset({Role.PATIENT, Role.DOCTOR}),
            ("PUT", "/v1/orders/{id}"): frozenset({Role.DOCTOR}),
            ("POST", "/v1/orders/{id}/cancellation"): frozenset({Role.PATIENT}),
            ("GET", "/v1/stream"): ANY_ROLE,
            ("GET", "/v1/broken/{id}"): frozenset({Role.OPS}),
            ("POST", "/v1/welcome"): PUBLIC,
        },
    )


@pytest.mark.parametrize(
    "other",
    [ANY_ROLE, PUBLIC, frozenset({Role.NURSE})],
)
async def test_the_check_of_a_table_notices_another_rule(other: object) -> None:
    s = sample()
    with pytest.raises(AssertionError):
        await assert_access(s.app, s.callers, {**ACCESS, ("GET", "/v1/orders"): other})  # type: ignore[dict-item]


def test_an_application_with_an_unlisted_route_is_not_built() -> None:
    without = {key: rule for key, rule in ACCESS.items() if key != ("GET", "/v1/orders/{id}")}
    with pytest.raises(AccessTableError, match=r"/v1/orders/\{id\}"):
        sample(access=without)


def test_an_application_with_a_rule_for_no_route_is_not_built() -> None:
    with pytest.raises(AccessTableError, match="/v1/nowhere"):
        sample(access={**ACCESS, ("GET", "/v1/nowhere"): PUBLIC})


def test_a_route_that_no_role_may_call_is_a_mistake() -> None:
    with pytest.raises(AccessTableError, match="/v1/stream"):
        sample(access={**ACCESS, ("GET", "/v1/stream"): frozenset()})


def test_a_mount_can_not_slip_in_beside_the_table() -> None:
    app = FastAPI(openapi_url=None)
    app.mount("/other", FastAPI())
    with pytest.raises(AccessTableError, match="mount"):
        route_table(app, {})


def _overlapping() -> tuple[APIRouter, Access]:
    routes = APIRouter()

    @routes.get("/v1/things/{id}")
    async def one(id: str) -> str:
        return "one"

    @routes.get("/v1/things/mine")
    async def mine() -> str:
        return "mine"

    return routes, {
        ("GET", "/v1/things/{id}"): frozenset({Role.OPS}),
        ("GET", "/v1/things/mine"): PUBLIC,
    }


async def test_the_gate_judges_the_route_that_the_router_will_choose() -> None:
    # "/mine" also fits "{id}", which stands first: the router takes that, so must the gate.
    routes, access = _overlapping()
    s = sample(routers=[routes], access=access)
    async with client(s.app) as c:
        assert (await c.get("/v1/things/mine")).status_code == 401
        answer = await c.get("/v1/things/mine", headers=s.callers.headers("ops"))
        assert answer.json() == "one"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/orders/",
        "//v1/orders",
        "/v1/orders/x/",
        "/V1/orders",
        "/v1/orders/x/y",
        "/v1%2Forders/",
    ],
)
async def test_no_spelling_of_a_path_leads_around_the_gate(path: str) -> None:
    s = sample()
    async with client(s.app) as c:
        answer = await c.get(path)
    assert answer.status_code == 404
    assert answer.json()["reason"] == "no_such_route"


async def test_a_method_that_is_not_there_names_those_that_are() -> None:
    s = sample()
    async with client(s.app) as c:
        answer = await c.delete("/v1/orders/x", headers=s.callers.headers("ops"))
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, PUT"
    assert answer.json()["reason"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "token_missing"),
        ("Basic dTpw", "token_missing"),
        ("Bearer", "token_invalid"),
        ("Bearer ", "token_invalid"),
        ("Bearer x.y.z", "token_invalid"),
    ],
)
async def test_what_is_no_bearer_token_is_401_with_a_challenge(header: str, reason: str) -> None:
    s = sample()
    async with client(s.app, Authorization=header) as c:
        answer = await c.get("/v1/orders")
    assert answer.status_code == 401
    assert answer.json()["reason"] == reason
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ("invalid_token" in answer.headers["WWW-Authenticate"]) is (reason == "token_invalid")


async def test_two_tokens_are_one_too_many() -> None:
    s = sample()
    token = s.callers.headers("doctor")["Authorization"]
    async with client(s.app) as c:
        twice = [("Authorization", token), ("Authorization", token)]
        answer = await c.get("/v1/orders", headers=twice)
    assert answer.status_code == 401


async def test_the_word_bearer_may_be_written_in_any_case() -> None:
    s = sample()
    token = s.callers.headers("doctor")["Authorization"].replace("Bearer", "bEARER")
    async with client(s.app, Authorization=token) as c:
        assert (await c.get("/v1/orders")).status_code == 200


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_000_000_000}, "token_expired"),
        ({"nbf": 4_000_000_000}, "token_not_yet_valid"),
        ({"aud": "elsewhere"}, "token_foreign"),
        ({"iss": "https://elsewhere.example"}, "token_foreign"),
        ({"hospital": None}, "token_invalid"),
    ],
)
async def test_a_refused_token_says_why(claims: dict[str, Any], reason: str) -> None:
    s = sample()
    async with client(s.app) as c:
        answer = await c.get("/v1/orders", headers=s.callers.headers("doctor", **claims))
    assert answer.status_code == 401
    assert answer.json()["reason"] == reason


async def test_authentication_comes_before_the_body_is_looked_at() -> None:
    s = sample()
    async with client(s.app) as c:
        answer = await c.post("/v1/orders", content=b"{", headers={"Content-Type": "text/json"})
    assert answer.status_code == 401


async def test_while_the_issuers_keys_are_unknown_the_answer_is_503_not_401() -> None:
    s, other = sample(), Callers()

    async def away() -> dict[str, object]:
        raise OSError

    s.callers.verifier._keys._fetch = away
    async with client(s.app) as c:
        answer = await c.get("/v1/orders", headers=other.headers("doctor"))
    assert answer.status_code == 503
    assert answer.json()["reason"] == "keys_unavailable"
    assert answer.headers["Retry-After"] == "5"


async def test_a_public_route_has_no_caller_even_if_a_token_is_sent() -> None:
    routes = APIRouter()

    @routes.get("/v1/open")
    async def open(caller: Caller) -> str:
        return caller.hospital

    s = sample(routers=[routes], access={("GET", "/v1/open"): PUBLIC})
    with capture_logs():
        async with client(s.app) as c:
            answer = await c.get("/v1/open", headers=s.callers.headers("ops"))
    assert answer.status_code == 500


async def test_a_gate_without_an_edge_before_it_lets_nobody_through() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("reached")

    gate = Gate(never, Callers().verifier)
    for scope in ({"type": "http"}, {"type": "http", ROUTE: None}):
        with pytest.raises(RuntimeError, match="gate"):
            await gate(scope, None, None)  # type: ignore[arg-type]
