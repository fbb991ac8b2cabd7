"""What does an answer look like that is not the one asked for?

RFC 9457 problem details with a stable ``type`` and a ``reason`` for programs, and a
title and detail in the reader's language for people. Nothing of the request's values is
ever repeated, and nothing of our inside is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from libs.common.audit import AuditUnavailable
from libs.common.decision import Common, Refusal
from libs.common.http import words
from libs.common.http.dialect import spoken
from libs.common.mongo.errors import Unavailable

#: Types are names, not addresses to open.
TYPE_BASE: Final = "https://lianxin.example/problems/"
MEDIA_TYPE: Final = "application/problem+json"
#: After this many seconds a 503 may be tried again.
RETRY_AFTER: Final = 5
#: More faults than this help nobody.
FAULTS_TOLD: Final = 20

#: The status of a refusal; every other reason is 422.
_STATUS_OF: Final[Mapping[str, int]] = {
    Common.NOT_FOUND: 404,
    Common.FORBIDDEN: 403,
    Common.WRONG_STATUS: 409,
    Common.CLAIMED: 409,
    Common.STALE: 409,
    Common.CHANGED: 412,
}
_REASON_OF: Final[Mapping[int, str]] = {
    400: "unreadable_body",
    404: "no_such_route",
    405: "method_not_allowed",
    413: "body_too_large",
}
_HEADER_FAULTS: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    ("idempotency-key", "missing"): (400, "idempotency_key_missing"),
    ("idempotency-key", "invalid"): (400, "idempotency_key_invalid"),
    ("if-match", "missing"): (428, "if_match_missing"),
}
_FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where, and pydantic's code for what."""

    where: str
    name: str
    code: str
    context: Mapping[str, Any] = field(default_factory=dict)


class Problem(HTTPException):
    """Raise it anywhere below the application to answer with a problem detail.

    It is an ``HTTPException`` because FastAPI lets those pass where it would turn others
    into a 400 (while reading a body).
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        detail: str = "",
        faults: Sequence[Fault] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail=detail, headers=headers)
        self.reason = str(reason)
        self.faults = faults
        self.extra = extra or {}


class FieldProblem(BaseModel):
    """One field that needs correcting."""

    location: str
    field: str
    message: str


class ProblemDetail(BaseModel):
    """RFC 9457 problem details, as the OpenAPI documents show them."""

    type: str
    title: str
    status: int
    reason: str
    detail: str | None = None
    errors: list[FieldProblem] | None = None
    correlation_id: str | None = None


def refused(refusal: Refusal) -> Problem:
    """The problem that a rule's refusal is to the caller."""
    return Problem(
        _STATUS_OF.get(refusal.reason, 422),
        refusal.reason,
        detail=refusal.detail,
        extra=refusal.extra,
    )


def unavailable(reason: str, retry_after: int = RETRY_AFTER) -> Problem:
    """503: nothing is wrong with the request, it may be sent again in ``retry_after`` s."""
    return Problem(503, reason, headers={"Retry-After": str(retry_after)})


def invalid(where: str, name: str, code: str, reason: str = "invalid_request") -> Problem:
    """400 naming one parameter or header."""
    return Problem(400, reason, faults=(Fault(where, name, code),))


def response(problem: Problem, scope: Scope, texts: words.Texts) -> Response:
    """``problem`` in the language that the request asks for, and the form of its path."""
    language = words.language(Headers(scope=scope).get("accept-language"))
    text = texts.get(problem.reason) or words.COMMON.get(problem.reason)
    detail = words.filled(text[language], problem.extra) if text else problem.detail
    status = problem.status_code
    title = words.TITLES.get(status) or words.TITLES[500 if status >= 500 else 400]
    body: dict[str, Any] = {
        **problem.extra,
        "type": TYPE_BASE + problem.reason,
        "title": title[language],
        "status": status,
        "reason": problem.reason,
    }
    if detail:
        body["detail"] = detail
    if problem.faults:
        body["errors"] = [
            {
                "location": f.where,
                "field": f.name,
                "message": words.fault(f.code, f.context, language),
            }
            for f in problem.faults[:FAULTS_TOLD]
        ]
    if status >= 500:
        body["correlation_id"] = scope.get("state", {}).get("correlation_id", "")
    dialect = spoken(scope)
    told = body if dialect is None else dialect.problem(body)
    return Response(
        json.dumps(told, ensure_ascii=False, default=str).encode(),
        status_code=status,
        media_type=MEDIA_TYPE if dialect is None else dialect.media_type,
        headers={
            **(problem.headers or {}),
            "Content-Language": language,
            "Vary": "Accept-Language",
        },
    )


def of_validation(errors: Iterable[Mapping[str, Any]], body: object = None) -> Problem:
    """Pydantic's errors as a problem: headers are 400, all else that is malformed 422."""
    faults = [_fault(e, body) for e in errors]
    if faults and all(f.where == "header" for f in faults):
        first = (faults[0].name.lower(), "missing" if faults[0].code == "missing" else "invalid")
        status, reason = _HEADER_FAULTS.get(first, (400, "invalid_header"))
        return Problem(status, reason, faults=faults)
    return Problem(422, "invalid_request", faults=faults)


def _fault(error: Mapping[str, Any], body: object) -> Fault:
    where, *path = error.get("loc") or ("body",)
    code = str(error.get("type", ""))
    context = error.get("ctx") or {}
    if code == "json_invalid":
        return Fault(str(where), "", code)  # its path is a position, not a field
    names = [safe_name(part) for part in (_sent(path, body) if where == "body" else path)]
    if where == "body":
        return Fault("body", "".join(f"/{n}" for n in names), code, context)  # JSON Pointer
    return Fault(str(where), ".".join(names), code, context)


def _sent(path: Sequence[Any], body: object) -> Iterator[Any]:
    """``path`` as it leads through ``body``: without the names of a union's members, which
    pydantic puts between and nobody has sent."""
    for at, part in enumerate(path):
        if isinstance(body, Mapping):
            if part not in body and at < len(path) - 1:
                continue
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            body = body[part]
        yield part


def safe_name(part: object) -> str:
    """``part`` if it looks like a field's name: a key of the client's own may be anything."""
    name = str(part)
    return name if _FIELD_NAME.fullmatch(name) else "?"


def install(app: FastAPI, texts: words.Texts) -> None:
    """Answer every expected exception of ``app`` with a problem detail."""

    async def on_http(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            return response(error, request.scope, texts)
        if not isinstance(error, HTTPException):  # for the type checker
            raise error
        reason = _REASON_OF.get(error.status_code, "invalid_request")
        problem = Problem(error.status_code, reason, headers=error.headers)
        return response(problem, request.scope, texts)

    async def on_validation(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        return response(of_validation(error.errors(), error.body), request.scope, texts)

    async def on_unavailable(request: Request, error: Exception) -> Response:
        audit = isinstance(error, AuditUnavailable)
        reason = "audit_unavailable" if audit else "database_unavailable"
        return response(unavailable(reason), request.scope, texts)

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Unavailable, on_unavailable)
    app.add_exception_handler(AuditUnavailable, on_unavailable)
