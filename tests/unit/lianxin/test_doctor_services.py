"""Does the doctor hear from services and the OIDC provider what is not as it should be?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from lianxin import doctor, installation
from lianxin.checks import Deployment, Finding, Findings, clocks
from lianxin.installation import SERVICES, CommandSettings, Installation
from lianxin.topics import Figures
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.places import ROOT

Answering = Callable[[httpx.Request], httpx.Response]


def deployment(policies: Path = ROOT / "policies") -> Deployment:
    settings = CommandSettings(
        environment="development",
        kafka_bootstrap_servers="away:9092",
        mongo_url="mongodb://away/?replicaSet=rs0",
        oidc_jwks_url="https://id.hospital.example/keys",
        policies_dir=policies,
    )
    here = Installation(settings)
    common = settings.model_dump(include={"environment", "oidc_jwks_url", "policies_dir"})
    services = {name: here.spec(name).settings(**common) for name in SERVICES}
    return Deployment(here, services, Figures(1, 1), own=False)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answering], None]:
    """What services answer, instead of sockets."""

    def answer(by: Answering) -> None:
        client = partial(httpx.AsyncClient, transport=httpx.MockTransport(by))
        monkeypatch.setattr(httpx, "AsyncClient", client)

    return answer


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of every host's name."""
    found: list[str] = []

    async def of(_host: str) -> list[str]:
        return found

    monkeypatch.setattr(installation, "addresses", of)
    return found


def said(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.of, f.verdict) for f in found]


async def test_services_of_two_versions_are_seen(answering: Callable[[Answering], None]) -> None:
    def by(request: httpx.Request) -> httpx.Response:
        version = "1.1" if request.url.host == "notify" else "1.0"
        return httpx.Response(200, json={"info": {"version": version}})

    answering(by)
    (only,) = await doctor._versions(deployment())
    assert only.verdict == "warning" and "1.1 (notify)" in only.found


async def test_services_of_one_version_are_well(answering: Callable[[Answering], None]) -> None:
    answering(lambda _: httpx.Response(200, json={"info": {"version": "1.0"}}))
    assert said(await doctor._versions(deployment())) == [("all", "OK")]


async def test_two_replicas_of_two_versions_are_seen(
    answering: Callable[[Answering], None], addresses: list[str]
) -> None:
    addresses += ["10.0.0.1", "10.0.0.2"]

    def by(request: httpx.Request) -> httpx.Response:
        version = "1.1" if request.url.host == "10.0.0.2" else "1.0"
        return httpx.Response(200, json={"info": {"version": version}})

    answering(by)
    (only,) = await doctor._versions(deployment())
    assert "1.0 (notify http://10.0.0.1:8005), 1.1 (notify http://10.0.0.2:8005)" in only.found


async def test_each_replicas_clock_is_read(
    answering: Callable[[Answering], None], addresses: list[str]
) -> None:
    addresses += ["10.0.0.1", "10.0.0.2"]

    def by(request: httpx.Request) -> httpx.Response:
        now = datetime.now(UTC) - timedelta(hours=request.url.host == "10.0.0.2")
        return httpx.Response(200, headers={"date": format_datetime(now, usegmt=True)})

    answering(by)
    found = Findings("clocks")
    async with httpx.AsyncClient() as http:
        await clocks._service(found, deployment(), http, "notify")
    assert said(found.all) == [
        ("notify http://10.0.0.1:8005", "OK"),
        ("notify http://10.0.0.2:8005", "wrong"),
    ]


async def test_a_service_that_is_away_is_named(answering: Callable[[Answering], None]) -> None:
    def by(request: httpx.Request) -> httpx.Response:
        if request.url.host == "interop":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"info": {"version": "1.0"}})

    answering(by)
    found = await doctor._versions(deployment())
    assert said(found) == [("interop", "warning"), ("all", "OK")]


async def test_a_services_clock_is_read_from_its_answer(
    answering: Callable[[Answering], None],
) -> None:
    old = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    answering(lambda _: httpx.Response(200, headers=old))
    found: list[Any] = []
    of = deployment()
    async with httpx.AsyncClient() as http:
        findings = Findings("clocks", found)
        await clocks._service(findings, of, http, "notify")
    assert said(found) == [("notify", "wrong")]


KEYS = DevelopmentIssuer.generate(issuer="i", audience="a").jwks()


def away(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("by", "verdict"),
    [
        (lambda _: httpx.Response(200, json=KEYS), "OK"),
        (lambda _: httpx.Response(200, json={"keys": []}), "wrong"),
        (lambda _: httpx.Response(200, text="<html>sign in</html>"), "wrong"),
        (lambda _: httpx.Response(503), "wrong"),
        (away, "wrong"),
    ],
)
async def test_the_providers_keys_are_fetched(
    answering: Callable[[Answering], None], by: Answering, verdict: str
) -> None:
    answering(by)
    assert said(await doctor._tokens(deployment())) == [
        ("https://id.hospital.example/keys", verdict)
    ]


async def test_policies_that_a_service_would_not_take_are_seen(tmp_path: Path) -> None:
    assert said(await doctor._policies(deployment())) == [(str(ROOT / "policies"), "OK")]
    found = await doctor._policies(deployment(tmp_path))
    assert {f.verdict for f in found} == {"wrong"}
