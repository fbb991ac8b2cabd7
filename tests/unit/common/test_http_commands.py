"""Does a request become the right command, and its outcome the right answer?"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.commands import Busy
from libs.common.decision import Refusal
from libs.common.fates import Fate, Outcome
from libs.common.http.idempotency import body_hash, command_id, version_of
from libs.common.http.problems import Problem
from tests.support.access import client
from tests.support.http_sample import Change, Sample, sample

GOOD = {"title": "t", "items": [{"name": "n", "count": 1}]}


async def place(s: Sample, body: Any = None, **headers: str) -> httpx.Response:
    usual = {**s.callers.headers("patient"), "Idempotency-Key": "k1", "Accept-Language": "en"}
    async with client(s.app, **{**usual, **headers}) as c:
        return await c.post("/v1/orders", json=body or GOOD)


async def test_a_command_carries_who_asks_for_what_and_when() -> None:
    s = sample()
    answer = await place(s, **{"X-Correlation-ID": "visit-7"})
    assert answer.status_code == 201
    assert answer.json() == {"id": "o1", "version": 1}
    assert answer.headers["ETag"] == '"1"'
    (input,) = s.commands.inputs
    assert (input.type, input.source, input.hospital) == ("order.place", "/http", "h1")
    assert input.actor is not None
    assert input.actor.person == "p1"
    assert input.actor.roles == {"patient"}
    assert input.subject == "p1"
    assert input.time == s.clock.at
    assert input.correlation_id == "visit-7"
    assert input.data.title == "t"
    assert len(input.body_hash) == 16


async def test_the_trace_of_the_caller_goes_on_in_the_command() -> None:
    s = sample()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await place(s, traceparent=f"00-{trace_id}-b7ad6b7169203331-01", tracestate="vendor=1")
    (input,) = s.commands.inputs
    assert input.traceparent is not None
    assert input.traceparent.split("-")[1] == trace_id
    assert input.traceparent.endswith("-01")
    assert input.tracestate == "vendor=1"


async def test_a_repetition_has_the_same_id_and_hash_and_another_body_only_the_same_id() -> None:
    s = sample()
    await place(s)
    await place(s)
    await place(s, {**GOOD, "title": "other"})
    first, again, other = s.commands.inputs
    assert first.id == again.id == other.id
    assert first.body_hash == again.body_hash != other.body_hash


async def test_the_order_of_a_bodys_fields_does_not_matter() -> None:
    s = sample()
    await place(s)
    await place(s, dict(reversed(list(GOOD.items()))))
    assert s.commands.inputs[0].body_hash == s.commands.inputs[1].body_hash


async def test_a_key_belongs_to_one_person_at_one_hospital_on_one_route() -> None:
    s = sample()
    await place(s)
    await place(s, **s.callers.headers("patient", person="p2"))
    await place(s, **s.callers.headers("patient", hospital="h2"))
    async with client(s.app, **s.callers.headers("patient"), **{"Idempotency-Key": "k1"}) as c:
        await c.post("/v1/orders/o1/cancellation")
        await c.post("/v1/orders/o2/cancellation")
    *others, one, two = s.commands.inputs
    assert len({i.id for i in others} | {one.id}) == 4
    # The same key for another order is the same command with another body.
    assert one.id == two.id
    assert one.body_hash != two.body_hash


def test_a_separator_in_an_id_does_not_lead_into_another_scope() -> None:
    route = ("POST", "/v1/orders")
    assert command_id("h", "a|b", route, "k") != command_id("h|a", "b", route, "k")


@given(st.lists(st.tuples(*[st.text(max_size=5)] * 3), min_size=2, max_size=2, unique=True))
def test_no_two_scopes_share_an_id(scopes: list[tuple[str, str, str]]) -> None:
    (h1, p1, k1), (h2, p2, k2) = scopes
    route = ("POST", "/v1/orders")
    assert command_id(h1, p1, route, k1) != command_id(h2, p2, route, k2)


def test_a_hash_tells_types_paths_and_bodies_apart() -> None:
    hashes = {
        body_hash("a", {}, None),
        body_hash("b", {}, None),
        body_hash("a", {"id": "1"}, None),
        body_hash("a", {}, Change(title="t")),
        body_hash("a", {}, Change(title="u")),
    }
    assert len(hashes) == 5


async def test_a_create_without_a_key_is_400_with_the_remedy() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("patient")) as c:
        answer = await c.post("/v1/orders", json=GOOD)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "idempotency_key_missing"
    assert s.commands.inputs == []


@pytest.mark.parametrize("key", ["", " ", "a b", "ключ".encode().decode("latin-1"), "x" * 256])
async def test_a_key_that_is_none_is_400(key: str) -> None:
    s = sample()
    headers = {**s.callers.headers("patient"), "Idempotency-Key": key.encode("latin-1")}
    async with client(s.app) as c:
        answer = await c.post("/v1/orders", json=GOOD, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["reason"] in ("idempotency_key_invalid", "idempotency_key_missing")
    assert s.commands.inputs == []


async def test_the_longest_key_is_taken() -> None:
    assert (await place(sample(), **{"Idempotency-Key": "~" * 255})).status_code == 201


async def test_a_replayed_answer_says_so() -> None:
    s = sample()
    s.commands.outcome = Outcome(Fate.DUPLICATE, "done", {"id": "o1", "version": 4})
    answer = await place(s)
    assert answer.status_code == 201
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.headers["ETag"] == '"4"'


async def test_a_replayed_refusal_is_refused_again_and_says_so() -> None:
    s = sample()
    refusal = Refusal("limit_reached", extra={"limit": 3})
    s.commands.outcome = Outcome(Fate.DUPLICATE, "limit_reached", refusal=refusal)
    answer = await place(s)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "limit_reached"
    assert answer.headers["Idempotency-Replayed"] == "true"


async def test_a_first_answer_does_not_claim_to_be_a_replay() -> None:
    assert "Idempotency-Replayed" not in (await place(sample())).headers


async def test_a_used_key_with_another_body_is_422() -> None:
    s = sample()
    reused = Refusal("idempotency_key_reused")
    s.commands.outcome = Outcome(Fate.REFUSED, reused.reason, refusal=reused)
    answer = await place(s)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "idempotency_key_reused"


async def test_a_command_that_our_bug_rejected_is_500() -> None:
    s = sample()
    s.commands.outcome = Outcome(Fate.REJECTED, "rule_failed", error="KeyError")
    answer = await place(s)
    assert answer.status_code == 500
    assert "KeyError" not in answer.text


@pytest.mark.parametrize("reason", ["outbox_full", "database_unavailable", "stopping"])
async def test_a_command_that_is_not_accepted_may_be_sent_again(reason: str) -> None:
    s = sample()
    s.commands.outcome = Busy(reason)
    answer = await place(s)
    assert answer.status_code == 503
    assert answer.json()["reason"] == reason
    assert answer.json()["detail"]
    assert answer.headers["Retry-After"] == "5"


async def test_before_the_runtime_is_there_commands_get_503() -> None:
    s = sample()
    s.app.state.commands = None
    answer = await place(s)
    assert answer.status_code == 503
    assert answer.json()["reason"] == "not_ready"


@pytest.mark.parametrize(
    ("header", "version"),
    [('"3"', 3), ('W/"3"', 3), (' "0" ', 0), ("*", None), ('"999999999999999999"', 10**18 - 1)],
)
def test_an_etag_names_the_version_that_was_read(header: str, version: int | None) -> None:
    assert version_of(header) == version


@pytest.mark.parametrize(
    "header",
    ["", "3", '"3', '"a"', '"3","4"', 'w/"3"', '"-1"', '"٣"', '"1000000000000000000"', '""3""',
     '"' + "9" * 5000 + '"'],
)  # fmt: skip
def test_what_is_no_etag_of_ours_is_400(header: str) -> None:
    with pytest.raises(Problem) as problem:
        version_of(header)
    assert problem.value.status_code == 400
    assert problem.value.reason == "if_match_invalid"


async def test_a_change_by_a_person_names_the_version_it_read() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("doctor")) as c:
        missing = await c.put("/v1/orders/o1", json={"title": "t"})
        wrong = await c.put("/v1/orders/o1", json={"title": "t"}, headers={"If-Match": "x"})
        right = await c.put("/v1/orders/o1", json={"title": "t"}, headers={"If-Match": '"7"'})
    assert (missing.status_code, missing.json()["reason"]) == (428, "if_match_missing")
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "if_match_invalid")
    assert right.status_code == 200
    (input,) = s.commands.inputs
    assert (input.if_match, input.subject, input.id) == (7, "o1", input.id)


async def test_commands_without_a_key_never_share_an_id() -> None:
    s = sample()
    headers = {**s.callers.headers("doctor"), "If-Match": "*"}
    async with client(s.app, **headers) as c:
        for _ in range(2):
            await c.put("/v1/orders/o1", json={"title": "t"})
    assert s.commands.inputs[0].id != s.commands.inputs[1].id


async def test_a_public_command_has_no_actor_and_the_hospital_it_proved() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("ops")) as c:
        assert (await c.post("/v1/welcome", json={"title": "t"})).status_code == 200
    (input,) = s.commands.inputs
    assert input.actor is None
    assert input.hospital == "h9"


async def test_a_callers_hospital_can_not_be_overridden() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("patient"), **{"Idempotency-Key": "k"}) as c:
        answer = await c.post("/v1/orders/o1/cancellation", params={"hospital": "h9"})
        assert answer.status_code == 422
        await c.post("/v1/orders/o1/cancellation", headers={"hospital": "h9"})
    assert [i.hospital for i in s.commands.inputs] == ["h1"]
