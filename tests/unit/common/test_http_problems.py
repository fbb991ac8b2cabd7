"""Is every answer that was not asked for a problem detail that helps and gives nothing away?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.common.decision import Common, Refusal
from libs.common.fates import Fate, Outcome
from libs.common.http import words
from libs.common.http.problems import Fault, Problem, of_validation, response
from libs.common.mongo.errors import Unavailable
from tests.support.access import client
from tests.support.http_sample import TEXTS, Sample, sample

GOOD = {"title": "t", "items": [{"name": "n", "count": 1}]}


async def post(s: Sample, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    usual = {**s.callers.headers("patient"), "Idempotency-Key": "k1", "Accept-Language": "en"}
    async with client(s.app, **{**usual, **headers}) as c:
        answer = await c.post(
            "/v1/orders", content=body if isinstance(body, bytes) else json.dumps(body),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
    problem = answer.json()
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"https://lianxin.example/problems/{problem['reason']}"
        assert problem["title"]
    return answer.status_code, problem


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"title": None}, "/title", "must be a text"),
        ({"title": ""}, "/title", "must have a length of at least 1"),
        ({"title": 5}, "/title", "must be a text"),
        ({"items": "no"}, "/items", "must be a list"),
        ({"items": [{}]}, "/items/0/name", "is required"),
        ({"items": [GOOD["items"][0]] * 4}, "/items", "must have at most 3 item(s)"),
        ({"items": [{"name": "n", "count": "x"}]}, "/items/0/count", "must be a whole number"),
        ({"items": [{"name": "n", "count": 0}]}, "/items/0/count", "must be 1 or more"),
        ({"items": [{"name": "n", "count": 1.5}]}, "/items/0/count", "must be a whole number"),
        ({"shade": "grey"}, "/shade", "must be one of 'light' or 'dark'"),
        ({"at": "yesterday"}, "/at", "must be a time such as 2026-03-01T08:00:00+08:00"),
        ({"at": 0}, "/at", "must be a time such as 2026-03-01T08:00:00+08:00"),
        ({"at": "1700000000"}, "/at", "must be a time such as 2026-03-01T08:00:00+08:00"),
        (
            {"at": "2026-03-01T08:00:00"},
            "/at",
            "must carry a time zone, as 2026-03-01T08:00:00+08:00 does",
        ),
        ({"day": "2026-13-01"}, "/day", "must be a date such as 2026-03-01"),
        ({"day": 20260301}, "/day", "must be a date such as 2026-03-01"),
        ({"urgent": "yes"}, "/urgent", "must be true or false"),
        ({"items": [{"name": "n", "count": "1"}]}, "/items/0/count", "must be a whole number"),
        ({"colour": 1}, "/colour", "is not known here; leave it out"),
    ],
)
async def test_a_wrong_field_is_named_with_what_would_be_right(
    change: dict[str, Any], field: str, message: str
) -> None:
    status, problem = await post(sample(), {**GOOD, **change})
    assert status == 422
    assert problem["reason"] == "invalid_request"
    assert {"location": "body", "field": field, "message": message} in problem["errors"]


async def test_a_missing_field_is_named() -> None:
    status, problem = await post(sample(), {"title": "t"})
    assert status == 422
    assert problem["errors"] == [{"location": "body", "field": "/items", "message": "is required"}]


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'"text"', b"[]", b"null", b'{"title":\x00}'])
async def test_a_body_that_is_no_object_is_422_or_400(body: bytes) -> None:
    status, problem = await post(sample(), body)
    assert status in (400, 422)
    assert problem["reason"] in ("invalid_request", "unreadable_body")


async def test_json_under_another_content_type_is_refused_with_the_remedy() -> None:
    s = sample()
    headers = {**s.callers.headers("patient"), "Idempotency-Key": "k", "Accept-Language": "en"}
    async with client(s.app, **headers) as c:
        answer = await c.post("/v1/orders", content=json.dumps(GOOD))
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["errors"][0]["message"]


async def test_no_value_of_the_request_comes_back() -> None:
    secret = "13800138000"
    body = {
        "title": [secret],
        "items": [{"name": secret * 9, "count": secret + "x"}],
        "shade": secret,
        "at": secret + "T",
        f"phone {secret}": 1,
    }
    s = sample()
    headers = {**s.callers.headers("patient"), "Idempotency-Key": f"a b {secret}"}
    async with client(s.app, **headers) as c:
        answer = await c.post("/v1/orders", json=body)
        strange = await c.post("/v1/orders", json=body, params={"q": secret, f"q {secret}": 1})
    assert strange.status_code == 422
    assert secret not in strange.text
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 7
    assert secret not in answer.text


def test_at_most_twenty_faults_are_told() -> None:
    errors = [{"type": "missing", "loc": ("body", str(n))} for n in range(100)]
    told = response(of_validation(errors), {"type": "http", "headers": []}, {})
    assert len(json.loads(bytes(told.body))["errors"]) == 20


def test_an_error_without_a_text_of_ours_still_says_something() -> None:
    languages: tuple[words.Language, ...] = ("zh-CN", "en")
    for language in languages:
        assert "/docs" in words.fault("a_future_error", {"input": "secret"}, language)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Common.NOT_FOUND, 404),
        (Common.FORBIDDEN, 403),
        (Common.WRONG_STATUS, 409),
        (Common.STALE, 409),
        (Common.CHANGED, 412),
        ("limit_reached", 422),
        ("idempotency_key_reused", 422),
        ("a_reason_without_a_text", 422),
    ],
)
async def test_a_refusal_has_the_status_of_its_reason(reason: str, status: int) -> None:
    s = sample()
    s.commands.outcome = Outcome(Fate.REFUSED, reason, refusal=Refusal(reason, "for people"))
    got, problem = await post(s, GOOD)
    assert got == status
    assert problem["reason"] == reason
    assert problem["detail"]


@pytest.mark.parametrize(
    ("language", "detail"),
    [
        ("en", "At most 3 times; please see the doctor."),
        ("en-GB,en;q=0.9", "At most 3 times; please see the doctor."),
        ("fr, en;q=0.2", "At most 3 times; please see the doctor."),
        ("zh", "最多 3 次，请到医院复诊。"),
        ("en;q=0.3, zh-TW;q=0.8", "最多 3 次，请到医院复诊。"),
        ("", "最多 3 次，请到医院复诊。"),
        ("fr", "最多 3 次，请到医院复诊。"),
        ("en;q=0", "最多 3 次，请到医院复诊。"),
        ("en;q=broken", "最多 3 次，请到医院复诊。"),
    ],
)
async def test_a_refusal_is_told_in_plain_words_of_the_readers_language(
    language: str, detail: str
) -> None:
    s = sample()
    refusal = Refusal("limit_reached", "internal English", extra={"limit": 3})
    s.commands.outcome = Outcome(Fate.REFUSED, "limit_reached", refusal=refusal)
    status, problem = await post(s, GOOD, **{"Accept-Language": language})
    assert status == 422
    assert problem["detail"] == detail
    assert problem["limit"] == 3


def test_a_refusals_extra_can_not_replace_what_the_standard_names() -> None:
    problem = Problem(404, "not_found", extra={"status": 200, "reason": "x", "type": "y"})
    told = json.loads(bytes(response(problem, {"type": "http", "headers": []}, {}).body))
    assert (told["status"], told["reason"]) == (404, "not_found")
    assert told["type"].endswith("/not_found")


@pytest.mark.parametrize("error", [Unavailable("mongodb://user:pass@db1"), RuntimeError("pass")])
async def test_nothing_of_our_inside_is_told(error: Exception) -> None:
    s = sample()
    s.commands.outcome = error
    with capture_logs():
        status, problem = await post(s, GOOD)
    assert status == (503 if isinstance(error, Unavailable) else 500)
    assert "pass" not in json.dumps(problem)
    assert problem["correlation_id"]


def test_every_common_reason_has_its_words_in_both_languages() -> None:
    assert words.without_text({}, words.COMMON) == set()
    assert words.without_text({}, list(Common)) == set()
    assert words.without_text(TEXTS, ["limit_reached"]) == set()


def test_a_missing_text_is_found() -> None:
    half: words.Texts = {"half": {"en": "only English"}}
    assert words.without_text(half, ["half", "none"]) == {"half", "none"}


def test_every_fault_is_told_in_both_languages() -> None:
    for code, text in words._FAULTS.items():
        assert set(text) == {"zh-CN", "en"}, code


def test_header_faults_alone_are_a_400_and_mixed_ones_a_422() -> None:
    header = {"type": "missing", "loc": ("header", "X-Thing")}
    body = {"type": "missing", "loc": ("body", "a")}
    assert of_validation([header]).status_code == 400
    assert of_validation([header, body]).status_code == 422
    assert of_validation([header]).faults == [Fault("header", "X-Thing", "missing")]


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/v1/orders?limt=5", "limt", "is not known here; there are limit, cursor"),
        ("/v1/orders/o1?x=1", "x", "is not known here, where there are none; leave it out"),
        ("/v1/orders?=1", "?", "is not known here; there are limit, cursor"),
    ],
)
async def test_a_query_parameter_that_nobody_reads_is_named(
    path: str, field: str, message: str
) -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("doctor"), **{"Accept-Language": "en"}) as c:
        answer = await c.get(path)
        assert (await c.get("/v1/orders?limit=5")).status_code == 200
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["location"], fault["field"], fault["message"]) == ("query", field, message)


def test_a_field_is_named_as_it_was_sent_and_not_by_the_member_of_a_union() -> None:
    def field(path: tuple[str | int, ...], sent: object) -> str:
        error = {"loc": ("body", *path), "type": "string_too_short", "ctx": {"min_length": 5}}
        (fault,) = of_validation([error], sent).faults
        return fault.name

    flat = {"method": "delivery", "address": "x"}
    assert field(("delivery", "address"), flat) == "/address"
    assert field(("delivery", "telephone"), flat) == "/telephone", "what is missing is named, too"
    assert field(("choice", "delivery", "address"), {"choice": flat}) == "/choice/address"
    assert field(("list", 1, "delivery", "address"), {"list": [{}, flat]}) == "/list/1/address"
    assert field(("list", 7, "name"), {"list": []}) == "/list/7/name"
    assert field(("name",), None) == "/name"
