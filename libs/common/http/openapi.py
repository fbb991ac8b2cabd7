"""What do the OpenAPI documents say beyond what FastAPI knows by itself?

Who may call a route, that a bearer token is how, and that everything which is not the
answer asked for is a problem detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from libs.common.http.access import PUBLIC, ROUTE, Route, RouteTable
from libs.common.http.problems import MEDIA_TYPE, Fault, Problem, ProblemDetail, safe_name

_SCHEME: Final = "bearer"
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_REF: Final = "#/components/schemas/ProblemDetail"
_MEANING: Final = {
    "400": "A header or the cursor is wrong",
    "401": "No token, or none that is trusted",
    "403": "The role may not do this",
    "404": "Not found, or somebody else's",
    "409": "Its present status does not allow it",
    "412": "Changed since it was read",
    "413": "The body is too large",
    "422": "A field is wrong, or a rule refuses; see reason",
    "428": "If-Match is missing",
    "503": "Try again after Retry-After seconds",
    "default": "Any other problem",
}


def document(app: FastAPI, routes: RouteTable) -> dict[str, Any]:
    """The OpenAPI document of ``app``."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        openapi_version=app.openapi_version,
    )
    components = found.setdefault("components", {})
    components["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDetail.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDetail"] = problem

    rules = {route.key: route.rule for route in routes.routes}
    for path, method, operation in _operations(found):
        rule = rules[(method.upper(), path)]
        dialect = next((d for d in app.state.dialects if d.covers(path)), None)
        wrong = (
            {MEDIA_TYPE: {"schema": {"$ref": _REF}}}
            if dialect is None
            else {dialect.media_type: {"schema": dict(dialect.schema)}}
        )
        _simplify(operation)
        if rule is PUBLIC:
            operation["security"] = []
        else:
            operation["security"] = [{_SCHEME: []}]
            operation["x-roles"] = sorted(rule)
        responses = operation.setdefault("responses", {})
        responses.pop("422", None)  # FastAPI's own form of it, which we never send
        for status in _statuses(operation, public=rule is PUBLIC):
            responses[status] = {
                "description": _MEANING[status],
                "content": wrong,
            }
    return found


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every documented route: a misspelt filter must not read as none.

    Pages are not documented, and what a messenger adds to their links is tolerated.
    """
    if not request.query_params:
        return
    route: Route = request.scope[ROUTE]
    operation = request.app.openapi()["paths"].get(route.template, {}).get(route.method.lower())
    if operation is None:
        return
    known = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
    strange = [name for name in request.query_params if name not in known]
    if strange:
        code = "unknown_parameter" if known else "no_parameter"
        context = {"known": ", ".join(known)}
        faults = [Fault("query", safe_name(name), code, context) for name in strange]
        raise Problem(422, "invalid_request", faults=faults)


def _simplify(operation: dict[str, Any]) -> None:
    """An absent parameter is not a null one, and a stream of events is not one text."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if {"type": "null"} in schema.get("anyOf", ()):
            (some, *more) = [s for s in schema.pop("anyOf") if s != {"type": "null"}]
            schema.update(some if not more else {"anyOf": [some, *more]})
    for response in operation.get("responses", {}).values():
        if "text/event-stream" in response.get("content", ()):
            response["content"]["text/event-stream"] = {}


def _operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in found.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _statuses(operation: dict[str, Any], *, public: bool) -> Iterator[str]:
    parameters = operation.get("parameters", ())
    places = {p["in"] for p in parameters}
    if not public:
        yield from ("401", "403")
    if "header" in places or any(p["name"] == "cursor" for p in parameters):
        yield "400"
    if any(p["name"] == "If-Match" for p in parameters):
        yield from ("412", "428")
    if "path" in places:
        yield "404"
    if "requestBody" in operation:
        yield from ("409", "413")
    if "requestBody" in operation or places - {"header"}:
        yield "422"
    yield from ("503", "default")
