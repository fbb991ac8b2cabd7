"""Is what belongs to one patient hidden from everybody else, on every route that there is?

The requests are made from the service's own OpenAPI document, so a new route is tried as soon
as it is documented. A test says only which object a path's parameter names, who may see it
(each of them is let through, or the test would prove nothing) and who may not.
"""

from __future__ import annotations

import asyncio
import json
import uuid
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisDeprecationWarning
from schemathesis.core.result import Ok

from libs.common.auth import Role
from libs.common.http.access import PUBLIC, Access

#: How many bodies and queries are tried on each route, all of them such as its schema allows.
EACH = 8
#: Streams do not end; what takes longer than this to be refused is one that has begun.
SECONDS = 10


@dataclass(frozen=True)
class Person:
    """Somebody with one role. ``here``: at the hospital whose patient it is."""

    who: str
    role: Role
    id: str
    client: httpx.AsyncClient
    here: bool = True


@dataclass(frozen=True)
class World:
    """The objects of one patient and the people around them."""

    #: By the beginning of a path, as in ``/v1/refills/{id}``.
    objects: Mapping[str, str]
    #: By the name that a query or a body has for it.
    fields: Mapping[str, str]
    #: What no stranger ever reads.
    secrets: Sequence[str]
    insiders: Sequence[Person]
    strangers: Sequence[Person]
    #: A caller without a token.
    nobody: httpx.AsyncClient
    #: One with a token of any role, who has a right to nothing.
    with_role: Callable[[Role], Person]
    #: All that is stored of this hospital.
    stored: Callable[[], Awaitable[Any]]
    #: How many refused reads of the patient's data are recorded, by who was refused.
    refused: Callable[[], Awaitable[Counter[str]]]


@dataclass(frozen=True)
class Asked:
    """One request to one route."""

    method: str
    template: str
    path: str
    query: Mapping[str, Any]
    body: Any
    names_object: bool
    is_stream: bool
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.template

    async def by(self, client: httpx.AsyncClient) -> httpx.Response:
        more = {"json": self.body} if self.body is not None else {}
        headers = {**self.headers, "If-Match": "*", "Idempotency-Key": uuid.uuid4().hex}
        async with asyncio.timeout(SECONDS):
            return await client.request(
                self.method, self.path, params=dict(self.query), headers=headers, **more
            )


def requests(document: Mapping[str, Any], world: World) -> Iterator[Asked]:
    """``EACH`` of them for every route of ``document``, on the objects of ``world``."""
    for operation in schemathesis.openapi.from_dict(dict(document)).get_all_operations():
        assert isinstance(operation, Ok), operation
        for case in _cases(operation.ok()):
            yield _asked(operation.ok(), case, world)


def _cases(operation: Any) -> list[Any]:
    """Some that its schema allows, the same ones in every run."""
    cases: list[Any] = []

    @seed(7)
    @settings(
        max_examples=EACH, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy())
    def make(case: Any) -> None:
        cases.append(case)

    with warnings.catch_warnings():
        # schemathesis draws from the module random, which Hypothesis does not like.
        warnings.simplefilter("ignore", HypothesisDeprecationWarning)
        make()
    return cases


def _asked(operation: Any, case: Any, world: World) -> Asked:
    template = operation.path
    path, names = _path(template, world), "{" in template
    query = {k: v for k, v in (case.query or {}).items() if k != "cursor"}
    body = case.body if isinstance(case.body, dict | list) else None
    for part in (query, body):
        if isinstance(part, dict):
            known = {k: v for k, v in world.fields.items() if k in part}
            part |= known
            names = names or bool(known)
    headers = case.headers or {}
    answers = operation.definition.raw.get("responses", {}).values()
    return Asked(
        method=operation.method.upper(),
        template=template,
        path=path,
        query=query,
        body=body,
        names_object=names,
        is_stream=any("text/event-stream" in a.get("content", ()) for a in answers),
        headers={k: str(v) for k, v in headers.items() if k.lower() != "authorization"},
    )


def _path(template: str, world: World) -> str:
    path = template
    while "{" in path:
        begin, rest = path.split("{", 1)
        prefix = template[: len(template) - len(rest) + rest.index("}") + 1]
        assert prefix in world.objects, f"{template}: say which object {prefix} names"
        path = begin + world.objects[prefix] + rest.split("}", 1)[1]
    return path


async def assert_hidden(document: Mapping[str, Any], access: Access, world: World) -> None:
    """Every route lets insiders through and shows strangers nothing, changes nothing for them
    and keeps that they were refused."""
    asked: dict[tuple[str, str], list[Asked]] = {}
    # In a thread: making them is work, and services run in this loop.
    for request in await asyncio.to_thread(lambda: list(requests(document, world))):
        asked.setdefault(request.key, []).append(request)
    assert {k for k, rule in access.items() if rule is not PUBLIC} <= set(asked)
    # Reads first, since what insiders change may then be seen by fewer.
    for key in sorted(asked, key=lambda k: k[0] != "GET"):
        rule, tried = access[key], asked[key]
        before = await world.stored()
        if rule is PUBLIC:
            for request in tried:
                _shows_nothing(request, await request.by(world.nobody), "nobody", world)
        else:
            for role in Role:
                if role not in rule:
                    answer = await tried[0].by(world.with_role(role).client)
                    assert (answer.status_code, answer.json()["reason"]) == (
                        403,
                        "role_not_allowed",
                    ), f"{key} as {role}: {answer.status_code}"
            for person in (p for p in world.strangers if p.role in rule):
                await _refused(tried, person, world)
        assert await world.stored() == before, f"{key} changed something for a stranger"
    for key in sorted(asked, key=lambda k: k[0] != "GET"):
        rule = access[key]
        if rule is not PUBLIC:
            for role in rule:
                await _let_through(asked[key], [p for p in world.insiders if p.role == role])


async def _refused(tried: Sequence[Asked], person: Person, world: World) -> None:
    before = (await world.refused())[person.id]
    not_found = seen = 0
    for request in tried:
        if request.is_stream and not (request.names_object and person.here):
            continue  # one of their own, and it does not end
        answer = await request.by(person.client)
        where = f"{request.method} {request.template} for {person.who}"
        _shows_nothing(request, answer, person.who, world)
        if not request.names_object:
            continue
        seen += 1
        if answer.status_code == 404:
            assert answer.json()["reason"] == "not_found", where
            not_found += 1
        elif answer.status_code == 200:  # a list of what concerns them: nothing
            assert answer.json()["items"] == [], where
        else:
            # Of what the schema can't say; it was looked at before the object was.
            assert answer.json()["reason"] == "invalid_request", f"{where}: {answer.text}"
            seen -= 1
    if any(r.names_object and not r.is_stream for r in tried):
        assert seen, f"{tried[0].key}: no request for {person.who} was good enough"
    if person.here and tried[0].method == "GET":
        assert (await world.refused())[person.id] >= before + not_found, (
            f"{tried[0].key}: a refused read by {person.who} is not recorded"
        )


def _shows_nothing(asked: Asked, answer: httpx.Response, who: str, world: World) -> None:
    sent = json.dumps([asked.path, dict(asked.query), asked.body])
    shown = [s for s in world.secrets if s not in sent and s in answer.text]
    assert not shown, f"{asked.method} {asked.template} shows {shown} to {who}"
    assert answer.status_code < 500, f"{asked.method} {asked.template}: {answer.text}"


async def _let_through(tried: Sequence[Asked], insiders: Sequence[Person]) -> None:
    assert insiders, f"{tried[0].key}: nobody may see it"
    if tried[0].is_stream:
        return
    for person in insiders:
        answers = [await request.by(person.client) for request in tried]
        through = [a for a in answers if a.status_code < 500 and not _is_malformed(a)]
        codes = {a.status_code for a in through}
        where = f"{tried[0].key} for {person.who}: {codes}"
        assert codes - {401, 403, 404}, where
        assert codes.isdisjoint({401, 403}), where


def _is_malformed(answer: httpx.Response) -> bool:
    return answer.status_code == 422 and answer.json()["reason"] == "invalid_request"
