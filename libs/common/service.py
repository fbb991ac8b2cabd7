"""How does a service serve HTTP, as a process that is told to stop by SIGTERM?

The process is alive at once, and ready when its runtime is.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from libs.common import logs, telemetry
from libs.common.auth import TokenVerifier
from libs.common.clock import Ports
from libs.common.dev_issuer import refuse_development_issuer
from libs.common.http.app import create_app
from libs.common.jwks import fetch_keys
from libs.common.loop_lag import tell_tasks_when_asked
from libs.common.runtime import GRACE, Runtime, ServiceSpec
from libs.common.settings import Settings

#: Seconds that an idle connection is kept: longer than what stands before us keeps it, or a request
#: meets a connection that is just being closed. nginx keeps it for 60 s, Google's gateways for 600.
KEEP_ALIVE = 650


def build(
    spec: ServiceSpec, settings: Settings | None = None, ports: Ports | None = None
) -> FastAPI:
    """The ASGI application of a service; its lifespan runs the whole service."""
    settings = settings or spec.settings()
    ports = ports or Ports()
    refuse_development_issuer(settings)
    adapters = spec.adapters(settings)
    logs.configure(spec.name, level=settings.log_level, environment=settings.environment)
    traces = telemetry.setup(
        spec.name,
        endpoint=settings.otel_exporter_otlp_endpoint or None,
        sample_ratio=settings.trace_sample_ratio,
        environment=settings.environment,
    )
    verifier = TokenVerifier(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        keys=fetch_keys(settings.oidc_jwks_url, settings.oidc_ca),
        clock=ports.clock,
    )
    # Built inside the loop that runs it: the driver and the queues belong to one loop.
    runtime: Runtime | None = None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal runtime
        runtime = Runtime(spec, settings, ports, traces)
        app.state.runtime = runtime
        app.state.commands = runtime.commands
        app.state.audit = runtime.audit
        async with runtime.running():
            yield
        traces.shutdown()

    def not_ready() -> Sequence[str]:
        if app.state.leaving:
            return ["stopping"]
        return ["starting"] if runtime is None else runtime.readiness.why_not()

    app = create_app(
        title=f"Lianxin {spec.name}",
        version=settings.lianxin_version or "1",
        routers=spec.routers,
        access=spec.access,
        verifier=verifier,
        ports=ports,
        texts=spec.texts,
        dialects=spec.dialects(settings),
        not_ready=not_ready,
        lifespan=lifespan,
    )
    app.state.adapters = adapters
    return app


class _Server(uvicorn.Server):
    """Serves on for a moment when it is asked to stop, until nobody is sent here any more.

    It is not ready then, and each answer ends its connection, so that no request comes in
    on one that is being closed.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, linger: float) -> None:
        super().__init__(config)
        self._app, self._linger = app, linger

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tell_tasks_when_asked()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.leaving = True
        self._app.state.streams.close()
        await asyncio.sleep(self._linger)
        await super().shutdown(sockets)


def main(spec: ServiceSpec) -> None:
    """Run a service until SIGTERM; whoever was let in is answered first. It ends with 0."""
    settings = spec.settings()
    app = build(spec, settings)
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=KEEP_ALIVE,
    )
    server = _Server(config, app, settings.linger_seconds)
    # Else the signal, which uvicorn raises again when all is done, would be the exit code.
    signal.signal(signal.SIGTERM, server.handle_exit)
    server.run()
    if not server.started or app.state.runtime.failed:
        sys.exit(1)
