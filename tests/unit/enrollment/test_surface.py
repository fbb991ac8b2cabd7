"""Who may call which route, in which words is a no told, and what does the page load?"""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI

from libs.common.clock import Ports
from libs.common.decision import Actor, Common
from libs.common.events import EVENT_TYPES
from libs.common.http.app import create_app
from libs.common.http.words import without_text
from services.enrollment.api import ACCESS, ROUTERS
from services.enrollment.api.people import draw
from services.enrollment.api.views import preview_of
from services.enrollment.api.wording import PAGE, TEXTS
from services.enrollment.domain.desk import TASK_CLOSE, TaskCommand
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.joining import OVER, Accept
from services.enrollment.domain.reasons import Reason
from services.enrollment.domain.staff import StaffTask
from services.enrollment.main import SPEC, count
from tests.support.access import Callers, assert_access, client
from tests.support.counted import counted, since, stage
from tests.unit.enrollment.given import NOW, discharged, hospital, token

HOUR = timedelta(hours=1)


def application(callers: Callers | None = None) -> FastAPI:
    callers = callers or Callers()
    return create_app(
        title="enrollment",
        routers=ROUTERS,
        access=ACCESS,
        verifier=callers.verifier,
        ports=Ports(),
        texts=TEXTS,
    )


async def test_every_route_lets_in_whom_the_table_names_and_nobody_else() -> None:
    callers = Callers()
    await assert_access(application(callers), callers)


def test_every_reason_has_words_in_both_languages() -> None:
    assert without_text(TEXTS, [*Reason, *Common]) == set()
    assert all(t.get("zh-CN") and t.get("en") for t in PAGE.values())


def test_every_status_that_can_not_be_answered_has_a_reason_and_words_on_the_page() -> None:
    assert set(OVER) == set(InvitationStatus) - {InvitationStatus.OPEN}
    assert {f"is_{s}" for s in OVER} <= set(PAGE)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    ("query", "accept", "language"),
    [
        ("", "zh-CN", "zh-CN"),
        ("", "en-GB,zh;q=0.5", "en"),
        ("?lang=en", "zh", "en"),
        ("", "", "zh-CN"),
    ],
)
async def test_the_page_speaks_the_readers_language(query: str, accept: str, language: str) -> None:
    async with client(application()) as c:
        answer = await c.get(f"/accept{query}", headers={"Accept-Language": accept})
    assert answer.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in answer.text
    assert PAGE["title"][language] in answer.text  # type: ignore[index]


async def test_the_page_loads_nothing_from_elsewhere_and_holds_no_inline_code() -> None:
    async with client(application()) as c:
        page = await c.get("/accept")
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        parser = _Tags()
        parser.feed(page.text)
        loaded = [
            a.get("src") or a.get("href") or "inline"
            for tag, a in parser.tags
            if tag in ("script", "link", "style")
        ]
        assert loaded == ["accept.css", "accept.js"]
        for name in loaded:
            assert (await c.get(f"/{name}")).status_code == 200


async def test_every_word_that_the_script_says_stands_on_the_page() -> None:
    async with client(application()) as c:
        page, script = await c.get("/accept"), (await c.get("/accept.js")).text
    said = set(re.findall(r'say\("([a-z_]+)"', script)) | {str(s) for s in OVER}
    assert said <= set(re.findall(r"data-say-([a-z_]+)=", page.text))


@pytest.mark.parametrize("status", [s for s in InvitationStatus if s is not InvitationStatus.OPEN])
def test_an_old_link_shows_its_status_and_names_no_group(status: InvitationStatus) -> None:
    case = hospital()
    case.event(discharged())
    (invitation,), (group,) = case.docs(Invitation), case.docs(Group)
    seen = preview_of(invitation, group, case.policy, NOW.date())
    assert (seen.group_name, seen.expires_at) == (group.name, invitation.expires_at)
    seen = preview_of(invitation.but(status=status), group, case.policy, NOW.date())
    assert seen.model_dump(exclude_none=True) == {"status": status}


def test_a_qr_code_is_drawn_as_svg_and_as_png() -> None:
    link = "https://hospital.example/accept#token=h1." + "x" * 43
    assert draw(link, "png").startswith(b"\x89PNG\r\n")
    svg = draw(link, "svg").decode()
    assert "<svg" in svg
    assert "token" not in svg


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"token": "h1." + "x" * 43}, "/consent_to_rules"),
        ({"token": "h1." + "x" * 43, "consent_to_rules": False}, "/consent_to_rules"),
        ({"consent_to_rules": True}, "/token"),
        ({"token": "nonsense", "consent_to_rules": True}, "/token"),
    ],
)
async def test_a_missing_consent_or_token_is_named(body: dict[str, object], field: str) -> None:
    async with client(application()) as c:
        answer = await c.post("/v1/invitations/accept", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [e["field"] for e in answer.json()["errors"]] == [field]
    assert "nonsense" not in answer.text


def test_what_is_decided_is_counted() -> None:
    case = hospital()
    before = counted("invitations_issued_total"), counted("groups_opened_total")
    input = case.event_input(discharged())
    count(input, case.send(input))
    assert counted("invitations_issued_total") == before[0] + 1
    assert counted("groups_opened_total") == before[1] + 1


def test_outcomes_are_counted_by_how_they_ended() -> None:
    case = hospital()
    case.event(discharged())
    before = counted("invitations_outcome_total", outcome="expired")
    for due in list(case.timers.values()):
        case.now = due[1].due
        input = case.timer_input(due[1])
        count(input, case.send(input))
    assert counted("invitations_outcome_total", outcome="expired") == before + 1


def test_it_is_measured_how_long_inviting_and_accepting_took() -> None:
    case, before = hospital(), {s: stage("discharge", s) for s in ("invited", "accepted")}
    input = case.event_input(discharged(at=NOW - HOUR))
    count(input, case.send(input))
    case.advance(2 * HOUR)
    body = Accept(token=token(case), consent_to_rules=True)
    input = case.command_input("invitation.accept", body)
    count(input, case.send(input))
    took = {s: since(before[s], stage("discharge", s)) for s in before}
    assert took == {"invited": (1, 3600), "accepted": (1, 7200)}


def test_whom_the_platform_could_not_invite_is_counted_and_timed_until_staff_have_seen_to_it() -> (
    None
):
    case, before = hospital(), stage("discharge", "staff")
    labels = {"reason": "no_programme", "department": "SURGERY"}
    lines = counted("staff_tasks_total", **labels)
    input = case.event_input(discharged(department="SURGERY"))
    count(input, case.send(input))
    assert counted("staff_tasks_total", **labels) == lines + 1
    (task,) = case.docs(StaffTask)
    case.advance(HOUR)
    nurse = Actor("n9", frozenset({"nurse"}), frozenset({"SURGERY"}))
    input = case.command_input(TASK_CLOSE, TaskCommand(task_id=task.id), actor=nurse)
    count(input, case.send(input))
    assert counted("staff_tasks_total", **labels) == lines + 1
    assert since(before, stage("discharge", "staff")) == (1, 3600)


def test_every_type_that_is_decided_comes_from_a_topic_that_is_read() -> None:
    types = [EVENT_TYPES[t] for t in SPEC.handlers if t in EVENT_TYPES]
    assert {t.TOPIC for t in types} == set(SPEC.topics)
