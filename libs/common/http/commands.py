"""How does a request become a command, and its outcome an answer?

The other half, deciding and saving, is the runtime's: ``app.state.commands`` takes an
input and gives its outcome after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from libs.common.clock import Ports
from libs.common.commands import Busy, Commands
from libs.common.decision import Actor, Input
from libs.common.fates import Fate, Outcome
from libs.common.http.access import ROUTE
from libs.common.http.idempotency import body_hash, command_id, etag
from libs.common.http.problems import Problem, refused, unavailable
from libs.common.telemetry import current_traceparent

#: The ``source`` of what people ask for; with the id it names a command for ever.
SOURCE = "/http"
REPLAYED = "Idempotency-Replayed"
#: Characters that W3C Trace Context has everybody pass on.
MAX_TRACESTATE = 512


def command(
    request: Request,
    type: str,
    data: Any,
    *,
    subject: str = "",
    if_match: int | None = None,
    idempotency_key: str | None = None,
    hospital: str | None = None,
) -> Input:
    """The command ``type`` of the caller, as an input for the rules.

    ``data`` is the body's model, ``subject`` the aggregate's id where it is known. With
    an ``idempotency_key`` the id follows from it, else it is new. On a ``PUBLIC`` route
    there is no caller: ``hospital`` must then be given, from what the request proves.
    """
    ports: Ports = request.app.state.ports
    state = request.scope["state"]
    principal = state["principal"]
    actor: Actor | None = None if principal is None else principal.actor
    tenant = hospital if principal is None else principal.hospital
    if tenant is None:
        raise ValueError("a command needs a hospital")
    person = "" if actor is None else actor.person
    id = (
        ports.ids.new()
        if idempotency_key is None
        else command_id(tenant, person, request.scope[ROUTE].key, idempotency_key)
    )
    return Input(
        id=id,
        source=SOURCE,
        type=type,
        hospital=tenant,
        subject=subject,
        time=ports.clock.now(),
        data=data,
        correlation_id=state["correlation_id"],
        traceparent=current_traceparent(),
        tracestate=_tracestate(request.headers.get("tracestate")),
        actor=actor,
        if_match=if_match,
        body_hash=body_hash(type, request.path_params, data),
    )


def _tracestate(given: str | None) -> str | None:
    """As Kafka's: what does not look like it is dropped, since it goes into every event."""
    return given if given and len(given) <= MAX_TRACESTATE and given.isascii() else None


async def submit(request: Request, input: Input) -> Outcome:
    """Have ``input`` decided and saved; 503 while the service can't."""
    commands: Commands | None = getattr(request.app.state, "commands", None)
    if commands is None:
        raise unavailable("not_ready")
    try:
        return await commands.submit(input)
    except Busy as busy:
        raise unavailable(busy.reason) from None


def answer(
    outcome: Outcome, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The response to a command; a refusal is raised as its problem.

    ``result`` is the body. Its ``version``, if it has one, is the ``ETag``.
    """
    extra = dict(headers or {})
    if outcome.fate is Fate.DUPLICATE:
        extra[REPLAYED] = "true"
    if outcome.refusal is not None:
        problem = refused(outcome.refusal)
        problem.headers = {**(problem.headers or {}), **extra}
        raise problem
    if outcome.fate is Fate.REJECTED:
        raise Problem(500, "unexpected")  # a bug of ours, set aside and logged where it struck
    if isinstance(outcome.result, dict) and isinstance(outcome.result.get("version"), int):
        extra["ETag"] = etag(outcome.result["version"])
    if status == 204:
        return Response(status_code=204, headers=extra)
    return JSONResponse(outcome.result, status_code=status, headers=extra)
