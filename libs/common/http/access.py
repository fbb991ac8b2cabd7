"""Who may call which route?

One table per service names every route with its roles. The table and the routes must
agree exactly, or the application is not even built. The gate stands before the router
and before any body is read: what the table does not name can't be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.auth import (
    NotAuthenticated,
    Principal,
    Role,
    TokenReason,
    TokenVerifier,
)
from libs.common.http.problems import Problem, unavailable
from libs.common.jwks import KeysUnavailable


class Public(Enum):
    """Routes that need no token; one that is sent all the same is not looked at."""

    PUBLIC = "public"


PUBLIC: Final = Public.PUBLIC
Rule = frozenset[Role] | Public
#: (method, path template) -> the roles that may call it, or ``PUBLIC``.
Access = Mapping[tuple[str, str], Rule]

ANY_ROLE: Final = frozenset(Role)
#: Where the matched route is kept in an ASGI scope.
ROUTE: Final = "lianxin.route"


class AccessTableError(Exception):
    """The access table and the routes do not agree."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route as the table names it."""

    method: str
    template: str
    rule: Rule
    pattern: re.Pattern[str]

    @property
    def key(self) -> tuple[str, str]:
        return (self.method, self.template)


class RouteTable:
    """All routes of an application with their rules, in the router's order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, method: str, path: str) -> Route | frozenset[str]:
        """The route that the router will choose, else the methods known at ``path``."""
        others = set()
        for route in self.routes:
            if route.pattern.match(path):
                if route.method == method:
                    return route
                others.add(route.method)
        return frozenset(others)


def route_table(app: FastAPI, access: Access) -> RouteTable:
    """Pair the routes of ``app`` with ``access``, which must name each of them and no other."""
    found: list[Route] = []
    unlisted: list[tuple[str, str]] = []
    for context in iter_route_contexts(app.router.routes):
        path, methods = context.path_format, context.methods
        if path is None or not methods:
            raise AccessTableError(f"a mount or socket can't be listed: {context.path}")
        for method in sorted(methods):
            # Starlette answers HEAD wherever it answers GET; they have one rule.
            rule = access.get((method, path)) or (
                access.get(("GET", path)) if method == "HEAD" else None
            )
            if not rule:  # an empty set of roles is a mistake, too
                unlisted.append((method, path))
            else:
                found.append(Route(method, path, rule, compile_path(context.path or path)[0]))
    unknown = set(access) - {route.key for route in found}
    if unlisted or unknown:
        raise AccessTableError(
            f"routes without a rule: {unlisted}; rules without a route: {sorted(unknown)}"
        )
    return RouteTable(found)


class Gate:
    """ASGI middleware: lets through what the table allows, for the caller it verified."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope.get(ROUTE)
        if isinstance(route, frozenset):
            raise _nowhere(route)
        if not isinstance(route, Route):
            raise RuntimeError("the gate needs the route that Edge finds")
        principal = None
        if route.rule is not PUBLIC:
            principal = await self._authenticate(scope)
            if route.rule.isdisjoint(principal.actor.roles):
                raise Problem(
                    403,
                    "role_not_allowed",
                    headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
                )
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Principal:
        try:
            return await self._verifier.verify(_bearer(scope))
        except NotAuthenticated as error:
            # RFC 6750, section 3.1: no error code when no token was sent.
            missing = error.reason is TokenReason.MISSING
            challenge = "Bearer" if missing else 'Bearer error="invalid_token"'
            raise Problem(401, error.reason, headers={"WWW-Authenticate": challenge}) from None
        except KeysUnavailable:
            raise unavailable("keys_unavailable") from None


def _bearer(scope: Scope) -> str:
    values = Headers(scope=scope).getlist("authorization")
    scheme, _, token = values[0].partition(" ") if values else ("", "", "")
    if scheme.lower() != "bearer":
        raise NotAuthenticated(TokenReason.MISSING)
    if len(values) > 1:
        raise NotAuthenticated(TokenReason.INVALID)
    return token.strip()


def _nowhere(methods: frozenset[str]) -> Problem:
    if methods:
        allow = ", ".join(sorted(methods))
        return Problem(405, "method_not_allowed", headers={"Allow": allow})
    return Problem(404, "no_such_route")


async def _principal(request: Request) -> Principal:
    principal = request.scope.get("state", {}).get("principal")
    if not isinstance(principal, Principal):
        raise RuntimeError("a route that is PUBLIC has no principal")
    return principal


#: The verified caller, for routes that are not ``PUBLIC``.
Caller = Annotated[Principal, Depends(_principal)]
