"""Which roles may call which route, and what is seen and counted of every decision?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.common import metrics
from libs.common.auth import Role
from libs.common.clock import Ports
from libs.common.events import Channel
from libs.common.http.app import create_app
from services.notify.api.live import messages_after, new_wakes
from services.notify.api.routes import _number
from services.notify.domain.delivering import Verdict
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.people import Person
from services.notify.main import SPEC, Parts, new_spec
from services.notify.ports import Due
from tests.support.access import Callers, assert_access
from tests.support.counted import counted, since, stage
from tests.support.rules import Case
from tests.unit.notify.cases import DAY, NOW, claim, ended, known_case, request

PEOPLE = frozenset(Role) - {Role.INTEGRATION}


async def test_every_route_is_open_to_its_roles_only() -> None:
    callers = Callers()
    app = create_app(
        title="notify",
        routers=SPEC.routers,
        access=SPEC.access,
        verifier=callers.verifier,
        ports=Ports(),
        texts=SPEC.texts,
    )
    await assert_access(
        app,
        callers,
        {
            ("GET", "/v1/inbox"): PEOPLE,
            ("GET", "/v1/inbox/live"): PEOPLE,
            ("POST", "/v1/inbox/{message_id}/read"): PEOPLE,
            ("GET", "/v1/notifications/{notification_id}"): frozenset({Role.OPS}),
        },
    )


@pytest.mark.parametrize(
    ("given", "number"),
    [(None, None), ("", None), ("7", 7), ("x", None), ("9" * 30, None), ("٣", None)],
)
def test_a_last_event_id_that_is_not_ours_counts_as_none(
    given: str | None, number: int | None
) -> None:
    assert _number(given) == number


def test_two_replicas_in_one_process_share_nothing() -> None:
    one, other = new_spec(), new_spec()
    assert one.observe != other.observe
    assert one.routers[0] is not other.routers[0]


def observed(case: Case, parts: Parts, input: Any) -> None:
    parts.committed(input, case.send(input))


def test_what_is_committed_here_wakes_the_channels_that_it_concerns() -> None:
    case, parts = known_case(), Parts()
    hinted: list[Due] = []
    parts.hint = hinted.append
    observed(case, parts, case.event_input(request("n1"), traceparent="00-a-b-01"))
    assert {d.key for d in hinted} == {
        ("h1", "n1", Channel.EMAIL),
        ("h1", "n1", Channel.WEBHOOK),
    }
    assert {d.traceparent for d in hinted} == {"00-a-b-01"}
    for answer in (
        claim(case, Channel.EMAIL),
        ended(case, Channel.EMAIL, Verdict.PASSING, 1),  # it waits for its time
    ):
        parts.committed(case.event_input(request("n1")), answer)
    assert len(hinted) == 2


def test_notifications_are_counted_by_how_they_ended() -> None:
    def counted(channel: str, outcome: str) -> float:
        value: float = metrics.NOTIFICATIONS.labels(channel=channel, outcome=outcome)._value.get()
        return value

    wanted = [("inbox", "sent"), ("email", "sent"), ("webhook", "failed"), ("all", "suppressed")]
    before = {w: counted(*w) for w in wanted}
    case, parts = known_case(), Parts()
    observed(case, parts, case.event_input(request("n1")))
    observed(case, parts, case.event_input(request("n2", expires_at=NOW)))
    for channel, verdict in ((Channel.EMAIL, Verdict.SENT), (Channel.WEBHOOK, Verdict.REFUSED)):
        claim(case, channel)
        parts.committed(case.event_input(request()), ended(case, channel, verdict, 1))
    assert {w: counted(*w) - before[w] for w in wanted} == dict.fromkeys(wanted, 1.0)


def test_it_is_measured_how_long_a_push_took_but_not_one_to_staff() -> None:
    case, parts, before = known_case(), Parts(), stage("report", "pushed")
    attempts = counted("delivery_attempts_sum", channel="email", outcome="sent")
    observed(case, parts, case.event_input(request("n1", event_time=NOW - DAY)))
    observed(case, parts, case.event_input(request("n2", template="report.critical")))
    case.advance(DAY)
    claim(case, Channel.EMAIL)
    parts.committed(case.event_input(request()), ended(case, Channel.EMAIL, Verdict.SENT, 1))
    # n1 in the inbox after a day and by e-mail after two
    assert since(before, stage("report", "pushed")) == (2, 3 * 86_400)
    assert counted("delivery_attempts_sum", channel="email", outcome="sent") == attempts + 1


# -- the live inbox ---------------------------------------------------------------------


class Inbox:
    """Stands in for the reader: a case's messages by number."""

    def __init__(self, case: Case) -> None:
        self.case, self.looks = case, 0

    async def after(self, person: Person, number: int, limit: int) -> list[InboxMessage]:
        self.looks += 1
        await asyncio.sleep(0)
        found = [m for m in self.case.docs(InboxMessage) if m.number > number]
        return sorted(found, key=lambda m: m.number)[:limit]


async def test_a_stream_goes_on_after_its_number_and_hears_what_is_new() -> None:
    case, wakes, parts = known_case(), new_wakes(), Parts()
    parts.wakes = wakes
    for n in range(3):
        case.event(request(f"n{n}"))
    inbox = Inbox(case)
    person = Person(id="p1", hospital="h1")
    stream = messages_after(1, person, inbox=inbox, wakes=wakes)  # type: ignore[arg-type]
    assert [(await anext(stream)).id for _ in range(2)] == ["n1", "n2"]
    coming = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.01)
    looks = inbox.looks
    wakes.wake(("h2", "p1"))  # somebody else
    wakes.wake(("h1", "p2"))
    await asyncio.sleep(0.01)
    assert (coming.done(), inbox.looks) == (False, looks)
    observed(case, parts, case.event_input(request("n3")))
    assert (await asyncio.wait_for(coming, 1)).id == "n3"
    await stream.aclose()
    assert wakes._waiting == {}


async def test_a_message_that_comes_while_a_stream_looks_is_not_missed() -> None:
    case, wakes = known_case(), new_wakes()
    inbox = Inbox(case)
    look = inbox.after

    async def slow(person: Person, number: int, limit: int) -> list[InboxMessage]:
        found = await look(person, number, limit)
        if not case.docs(InboxMessage):  # it comes after the query and before the wait
            case.event(request())
            wakes.wake(("h1", "p1"))
        return found

    inbox.after = slow  # type: ignore[method-assign]
    person = Person(id="p1", hospital="h1")
    stream = messages_after(0, person, inbox=inbox, wakes=wakes)  # type: ignore[arg-type]
    assert (await asyncio.wait_for(anext(stream), 1)).id == "n1"
    await stream.aclose()
