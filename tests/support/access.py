"""Does an application let in whom its table names, and nobody else?

``Callers`` makes tokens that an application built with ``callers.verifier`` trusts;
``assert_access`` tries every route with every role, with no token and with a forged one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.auth import Role, TokenVerifier
from libs.common.clock import Ports
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.http.access import PUBLIC, Access

BASE = "http://service.test"


class Callers:
    """People with tokens, from an issuer in memory."""

    def __init__(self, ports: Ports | None = None) -> None:
        ports = ports or Ports()
        self.issuer = DevelopmentIssuer.generate(ports=ports)
        self.verifier = TokenVerifier(
            issuer=self.issuer.issuer,
            audience=self.issuer.audience,
            keys=self._jwks,
            clock=ports.clock,
        )

    async def _jwks(self) -> Mapping[str, Any]:
        return self.issuer.jwks()

    def headers(
        self,
        *roles: str,
        person: str = "p1",
        hospital: str = "h1",
        departments: Iterable[str] = (),
        **claims: Any,
    ) -> dict[str, str]:
        token = self.issuer.token(
            person=person,
            hospital=hospital,
            roles=roles,
            departments=departments,
            claims=claims,
        )
        return {"Authorization": f"Bearer {token}"}


def client(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    """A client without sockets; it sees a 500 as a client would, not the exception."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


class _Reached:
    """Stands in for the routes: whoever comes so far gets 204."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Response(status_code=204)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def assert_access(app: FastAPI, callers: Callers, expected: Access | None = None) -> None:
    """Every route of ``app`` answers every role as ``expected`` (or its own table) says.

    The routes themselves are replaced, so nothing is read or written; ``app`` must be a
    fresh one that has served nothing, and is of no further use.
    """
    assert app.middleware_stack is None, "give assert_access an application of its own"
    app.user_middleware.append(Middleware(_Reached))
    table = app.state.access if expected is None else expected
    assert set(table) == set(app.state.access), "the expected table names other routes"
    stranger = Callers()
    async with client(app) as c:
        for (method, template), rule in table.items():
            path = re.sub(r"\{[^}]+\}", "x", template)
            where = f"{method} {template}"
            nobody = await c.request(method, path)
            forged = await c.request(method, path, headers=stranger.headers(*Role))
            if rule is PUBLIC:
                assert nobody.status_code == 204, f"{where} should need no token"
                continue
            assert nobody.status_code == 401, f"{where} without a token: {nobody.status_code}"
            assert nobody.json()["reason"] == "token_missing"
            assert forged.status_code == 401, f"{where} with a forged token: {forged.status_code}"
            for role in Role:
                answer = await c.request(method, path, headers=callers.headers(role))
                if role in rule:
                    assert answer.status_code == 204, f"{where} should be open to {role}"
                else:
                    assert answer.status_code == 403, f"{where} is open to {role}"
                    assert answer.json()["reason"] == "role_not_allowed"
