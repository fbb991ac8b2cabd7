"""Does paging show every item once, and refuse cursors that are not ours?"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.http.paging import Page, cursor_of
from libs.common.http.problems import Problem
from tests.support.access import client
from tests.support.http_sample import sample


async def test_the_pages_together_are_the_whole_list() -> None:
    s = sample()
    seen: list[int] = []
    sizes = []
    async with client(s.app, **s.callers.headers("doctor")) as c:
        cursor: str | None = None
        while True:
            query = {"limit": "50", **({} if cursor is None else {"cursor": cursor})}
            page = (await c.get("/v1/orders", params=query)).json()
            seen += page["items"]
            sizes.append(len(page["items"]))
            cursor = page["next"]
            if cursor is None:
                break
    assert seen == list(range(120))
    assert sizes == [50, 50, 20]


async def test_a_page_that_ends_the_list_exactly_has_no_next() -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("doctor")) as c:
        page = (await c.get("/v1/orders", params={"limit": 120})).json()
    assert len(page["items"]) == 120
    assert page["next"] is None


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", ""])
async def test_a_limit_out_of_range_is_422_naming_it(limit: str) -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("doctor")) as c:
        answer = await c.get("/v1/orders", params={"limit": limit})
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == ["limit"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "ключ",
        "",
        "bnVsbA",  # null
        cursor_of([1]),
        cursor_of(["a", "b"]),
        cursor_of([1, "b", 2]),
        urlsafe_b64encode(b'{"a":1}').decode(),
        urlsafe_b64encode(b"[1,").decode(),
        "W" * 1024,
    ],
)
async def test_a_cursor_that_is_not_ours_is_400_naming_it(cursor: str) -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("doctor")) as c:
        answer = await c.get("/v1/orders", params={"cursor": cursor})
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["reason"] == "invalid_cursor"
    assert [e["field"] for e in problem["errors"]] == ["cursor"]


@given(st.datetimes(timezones=st.just(UTC)), st.text(max_size=20))
def test_sort_values_come_back_as_they_were(at: datetime, id: str) -> None:
    page = Page(cursor=cursor_of([at, id]))
    assert page.after(tuple[datetime, str]) == (at, id)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_cursor(cursor: str) -> None:
    try:
        Page(cursor=cursor).after(tuple[datetime, str])
    except Problem as problem:
        assert problem.status_code == 400
