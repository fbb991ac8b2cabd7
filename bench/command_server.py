"""A service with one command over HTTP, for the benchmark of the group commit.

``group`` decides what has come while a transaction ran in the next one, as the services
do; ``each`` gives every command a transaction of its own. Prints its port and a token.
"""

from __future__ import annotations

import argparse
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response

from libs.common import logs
from libs.common.auth import Role
from libs.common.decision import Input
from libs.common.fates import Outcome
from libs.common.http.access import Access
from libs.common.http.app import create_app
from libs.common.http.bodies import Body
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IdempotencyKey
from tests.support.access import Callers
from tests.support.toy import Replica, Toy

ACCESS: Access = {("POST", "/v1/ticks"): frozenset({Role.PATIENT})}
router = APIRouter(prefix="/v1")


class Tick(Body):
    name: str
    n: int


@router.post("/ticks")
async def tick(request: Request, body: Tick, key: IdempotencyKey) -> Response:
    data = request.app.state.ticked(name=body.name, n=body.n)
    input = command(request, "toy.tick", data, subject=body.name, idempotency_key=key)
    return answer(await submit(request, input))


class Each:
    """In place of the group commit."""

    def __init__(self, replica: Replica) -> None:
        self._engine = replica.engine

    async def submit(self, input: Input) -> Outcome:
        return (await self._engine.run([input]))[0]


def build(toy: Toy, callers: Callers, mode: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await toy.prepare(1)
        replica = toy.replica()
        await replica.lease.step()
        app.state.ticked = toy.ticked
        app.state.commands = Each(replica) if mode == "each" else replica.commands
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        async with replica.running("lease", "relay", "commands"):
            yield
        await toy.remove()

    return create_app(
        title="bench",
        routers=[router],
        access=ACCESS,
        verifier=callers.verifier,
        ports=toy.ports,
        lifespan=lifespan,
    )


class _Server(uvicorn.Server):
    token = ""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(port, self.token, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["group", "each"])
    for name in ("bootstrap", "mongo"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    toy, callers = Toy(arguments.bootstrap, arguments.mongo), Callers()
    config = uvicorn.Config(
        build(toy, callers, arguments.mode),
        port=0,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
    )
    server = _Server(config)
    server.token = callers.headers(Role.PATIENT)["Authorization"]
    server.run()


if __name__ == "__main__":
    main()
