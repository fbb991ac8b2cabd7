"""Is what was set aside listed, shown without what is personal, and handled once when replayed?"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from libs.common.audit import Outcome
from libs.common.decision import Answer, Env, Input, State
from libs.common.events import DischargeCancelled
from libs.common.kafka.topics import TopicSpec, create_topics
from services.enrollment import main as enrollment
from tests.integration.lianxin.conftest import World
from tests.integration.lianxin.test_trace import DISCHARGED, JUST_NOW, discharge, handled, new_id
from tests.support.running import Running
from tests.support.toy import eventually

#: Each command is a process that imports six services.
pytestmark = pytest.mark.timeout(300)

NAME = "陈桂芳"


class Bug:
    """Enrollment's rule for discharges fails for ward 99, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mended = False
        handlers = dict(enrollment.SPEC.handlers)
        right = handlers[DISCHARGED]

        def decide(input: Input, state: State, env: Env) -> Answer:
            if input.subject.startswith("e99") and not self.mended:
                raise ZeroDivisionError
            return right.decide(input, state, env)

        handlers[DISCHARGED] = replace(right, decide=decide)
        monkeypatch.setattr(enrollment, "SPEC", replace(enrollment.SPEC, handlers=handlers))


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> Bug:
    return Bug(monkeypatch)


async def listed(world: World, count: int, *more: str) -> list[dict[str, Any]]:
    async def there() -> list[dict[str, Any]] | None:
        done = await world.lianxin("dlq", "list", "enrollment", "--all", "--json", *more)
        letters: list[dict[str, Any]] = done.facts["letters"]
        return letters if len(letters) >= count else None

    found: list[dict[str, Any]] = await eventually(there, world.patience)
    assert len(found) == count
    return found


async def invitations(of: Running) -> int:
    return len(await of.rows("invitations"))


async def test_a_letter_is_listed_shown_replayed_once_and_audited(world: World, bug: Bug) -> None:
    bad, other = new_id(), new_id()
    async with world.service("enrollment") as service:
        await world.publish((bad, discharge("99")), (other, discharge("98")))
        await handled(world, service, other)
        (letter,) = await listed(world, 1)
        assert letter["event"]["id"] == bad
        assert (letter["reason"], letter["state"]) == ("rule_failed", "waiting")
        assert letter["first_stood"]["topic"] == "hospital.encounters"

        shown = await world.lianxin("dlq", "show", "enrollment", bad)
        assert NAME not in shown.out and "p99" not in shown.out and "e99" not in shown.out
        assert await world.audit("enrollment") == []
        bare = await world.lianxin("dlq", "show", "enrollment", bad, "--reveal", "--json")
        assert bare.facts["body"]["patient"]["name"] == NAME
        (seen,) = await world.audit("enrollment")
        assert (seen["action"], seen["patient"], seen["agent"]["who"]) == ("R", "p99", "ann")

        # Dry by default: nothing is sent, and nothing is said to have been.
        dry = await world.lianxin("dlq", "replay", "enrollment", bad)
        assert dry.code == 0 and "1 dead letters would be handled again; --apply" in dry.out
        assert len(await world.audit("enrollment")) == 1

        # Before its cause is mended it is set aside again, and stays one letter.
        again = await world.lianxin("dlq", "replay", "enrollment", bad, "--apply")
        assert again.code == 1 and "1 set aside again" in again.out
        (letter,) = await listed(world, 1)
        assert (letter["times"], letter["state"]) == (2, "waiting")
        assert letter["first_stood"]["topic"] == "hospital.encounters"

        bug.mended = True
        before = await invitations(service)
        done = await world.lianxin("dlq", "replay", "enrollment", bad, "--apply", "--json")
        assert done.code == 0 and done.facts["sent"]["fates"] == {"done": 1}
        assert await invitations(service) == before + 1
        (letter,) = await listed(world, 1)
        assert letter["state"] == "settled"
        waiting = await world.lianxin("dlq", "list", "enrollment")
        assert waiting.code == 0 and "0 wait, 1 were settled since" in waiting.out

        # Once more by force: the inbox knows it, so nothing changes.
        twice = await world.lianxin("dlq", "replay", "enrollment", bad, "--all", "--apply")
        assert twice.code == 0, twice.err
        assert await invitations(service) == before + 1
        left = await world.lianxin("dlq", "replay", "enrollment", bad, "--apply")
        assert "1 are left out: they were handled since" in left.out
    trail = [row for row in await world.audit("enrollment") if row["action"] == "E"]
    begun = [row for row in trail if row["outcome"] is None]
    ended = [row for row in trail if row["outcome"] == Outcome.SUCCESS]
    assert {row["agent"]["who"] for row in trail} == {"ann"}
    assert {row["hospital"] for row in begun} == {world.hospital}
    assert all(bad in row["entity"]["what"][0] for row in begun)
    runs = {row["correlation_id"] for row in begun}
    assert len(begun) == len(ended) == len(runs) == 3 and len(trail) == 6
    assert runs == {row["correlation_id"] for row in ended}


async def test_a_late_letter_undoes_nothing_that_came_after_it(world: World, bug: Bug) -> None:
    """The discharge was set aside, and cancelled meanwhile: nobody is invited to it any more."""
    bad, cancel = new_id(), new_id()
    async with world.service("enrollment") as service:
        await world.publish((bad, discharge("99")))
        await listed(world, 1)
        cancelled = DischargeCancelled(
            encounter_id="e99",
            patient_id="p99",
            discharge_event_id=bad,
            cancelled_at=JUST_NOW + timedelta(minutes=5),
        )
        await world.publish((cancel, cancelled))
        await handled(world, service, cancel)
        bug.mended = True
        done = await world.lianxin("dlq", "replay", "enrollment", bad, "--apply", "--json")
        assert done.facts["sent"]["read"]
        assert await invitations(service) == 0


async def test_by_filter_and_rate_only_those_are_sent_and_no_faster(world: World, bug: Bug) -> None:
    ids = [new_id() for _ in range(6)]
    async with world.service("enrollment") as service:
        unreadable = [world.copy_of(discharge(f"8{n}"), new_id()) for n in range(3)]
        await world.send(*(row._replace(value=b"{}") for row in unreadable))
        await world.publish(*((id, discharge(f"99{n}")) for n, id in enumerate(ids)))
        letters = await listed(world, 9)
        assert sorted({x["reason"] for x in letters}) == ["rule_failed", "schema_violation"]
        assert len(await listed(world, 3, "--reason", "schema_violation")) == 3
        bug.mended = True
        begun = time.monotonic()
        arguments = ("--reason", "rule_failed", "--type", DISCHARGED, "--rate", "2", "--apply")
        done = await world.lianxin("dlq", "replay", "enrollment", *arguments, "--json")
        assert done.facts["sent"]["fates"] == {"done": 6}
        assert time.monotonic() - begun >= 2  # six at two a second: the last pair after two seconds
        assert await invitations(service) == 6
        states = {x["event"]["id"]: x["state"] for x in await listed(world, 9)}
        assert {states[id] for id in ids} == {"settled"}
        assert sorted(states.values()) == ["settled"] * 6 + ["waiting"] * 3


async def test_an_id_that_belongs_to_another_event_is_left_out_with_the_remedy(
    world: World,
) -> None:
    id = new_id()
    async with world.service("enrollment") as service:
        await world.publish((id, discharge("1")))
        await handled(world, service, id)
        await world.publish((id, discharge("2")))
        (letter,) = await listed(world, 1)
        assert (letter["reason"], letter["state"]) == ("id_reused", "other body")
        done = await world.lianxin("dlq", "replay", "enrollment", id, "--apply")
        assert "under ids of their own" in done.out and "0 dead letters" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("dlq", "list", "nosuch"), 2, "There is no service 'nosuch'"),
        (("dlq", "list", "enrollment", "--from", "yesterday"), 2, "is no time"),
        (("dlq", "list", "enrollment", "--limit", "0"), 2, "limit"),
        (("dlq", "list", "notify"), 2, "does not exist"),
        (("dlq", "replay", "enrollment", "--rate", "-1"), 2, "rate"),
        (("dlq", "show", "enrollment", "\x1b[31mx"), 2, "no dead letter"),
        (
            ("dlq", "show", "enrollment", "0", "--reveal", "--operator", " "),
            2,
            "--operator is empty",
        ),
        (("trace", ""), 2, "id"),
        (("trace", "x", "--from", "99999999999d"), 2, "is no time"),
        (("outbox", "nosuch"), 2, "There is no service"),
        (("replay", "notify.events", "--from", "1h", "--into", "enrollment"), 2, "does not read"),
        (("replay", "hospital.encounters", "--from", "90d", "--into", "enrollment"), 2, "75 days"),
        (
            (
                *("replay", "hospital.encounters", "--from", "1h", "--to", "2h"),
                "--into",
                "enrollment",
            ),
            2,
            "before --to",
        ),
        (("nosuch",), 2, "nosuch"),
    ],
)
async def test_what_is_wrongly_asked_is_answered_in_a_sentence(
    world: World, arguments: tuple[str, ...], code: int, said: str
) -> None:
    topics = [TopicSpec(f"{world.prefix}-enrollment.{end}", 1, 1, {}) for end in ("dlq", "replay")]
    await create_topics(world.stack.bootstrap, topics)
    done = await world.lianxin(*arguments)
    assert done.code == code, done.err
    assert said in " ".join(done.err.split()), done.err
    assert done.out == ""
