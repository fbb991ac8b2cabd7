"""What is every service's HTTP side made of?

One factory, so that all services answer alike: the gate before the routes, problems for
whatever goes wrong, health for the platform and documents for people.

The lifespan puts what routes use into ``app.state``: ``commands``, ``audit`` and whatever
the service reads from. ``ports`` and ``streams`` are there from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from libs.common import metrics
from libs.common.auth import TokenVerifier
from libs.common.clock import Ports
from libs.common.http import openapi, problems, words
from libs.common.http.access import PUBLIC, Access, Gate, route_table
from libs.common.http.dialect import Dialect
from libs.common.http.edge import MAX_BODY, Edge
from libs.common.http.sse import Streams

#: Routes of our own and FastAPI's; none of them shows anything about a person.
OWN: Final[Access] = {
    ("GET", "/livez"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    *,
    title: str,
    routers: Sequence[APIRouter],
    access: Access,
    verifier: TokenVerifier,
    ports: Ports,
    not_ready: Callable[[], Sequence[str]] = lambda: (),
    texts: words.Texts | None = None,
    lifespan: Lifespan | None = None,
    version: str = "1",
    description: str = "",
    max_body: int = MAX_BODY,
    dialects: Sequence[Dialect] = (),
) -> FastAPI:
    """The application of one service.

    ``access`` names every route of ``routers``, else :class:`AccessTableError`.
    ``not_ready()`` gives the reasons why the service can't work now (static words);
    ``texts`` the words for its own refusals; ``dialects`` are paths that answer otherwise.
    """
    app = FastAPI(
        title=title,
        version=version,
        description=description,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # FastAPI's own spans and log records hold the path and the text of exceptions.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    words_of_ours = texts or {}
    app.include_router(_health(not_ready))
    for router in routers:
        app.include_router(router, dependencies=[Depends(openapi.refuse_unknown_parameters)])
    problems.install(app, words_of_ours)
    routes = route_table(app, {**access, **OWN})
    app.state.ports = ports
    app.state.access = access
    app.state.dialects = tuple(dialects)
    app.state.streams = Streams(ports)
    app.state.leaving = False  # once it is asked to stop, each answer ends its connection
    # The last one added is the outermost.
    app.add_middleware(Gate, verifier=verifier)
    app.add_middleware(
        Edge,
        routes=routes,
        ports=ports,
        texts=words_of_ours,
        max_body=max_body,
        dialects=dialects,
    )

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.document(app, routes)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def _health(not_ready: Callable[[], Sequence[str]]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/livez")
    async def livez() -> dict[str, str]:
        """The process runs and its event loop turns. Says nothing of what it talks to."""
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz() -> Response:
        """Whether to send requests here; ``reasons`` if not."""
        reasons = list(not_ready())
        if reasons:
            return JSONResponse(
                {"status": "not ready", "reasons": reasons},
                status_code=503,
                headers={"Retry-After": str(problems.RETRY_AFTER)},
            )
        return JSONResponse({"status": "ready"})

    @routes.get("/metrics")
    async def prometheus(request: Request) -> Response:
        body, content_type = metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return routes
