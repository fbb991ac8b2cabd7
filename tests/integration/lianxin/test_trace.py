"""Does ``lianxin trace`` find a message wherever it has stopped?"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Answer, Env, Input, State
from libs.common.devstack.places import free_ports
from libs.common.events import Disposition, NotificationRequested, PatientRegistered
from libs.common.flood import OWN_FAULTS
from libs.common.kafka.producer import Producer
from libs.common.runtime import Runtime
from services.enrollment import main as enrollment
from tests.integration.lianxin.conftest import HIS, World
from tests.support.running import Running
from tests.support.toy import eventually
from tests.unit.enrollment.given import discharged

#: Each command is a process that imports six services.
pytestmark = pytest.mark.timeout(300)

JUST_NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
DISCHARGED = "hospital.encounter.discharged.v1"


def discharge(n: object = 1, **more: Any) -> Any:
    return discharged(f"p{n}", f"e{n}", at=JUST_NOW, **more)


def new_id() -> str:
    return f"d-{uuid.uuid4().hex[:10]}"


def reading(event: dict[str, Any], service: str) -> dict[str, Any]:
    (found,) = (r for r in event["readings"] if r["service"] == service)
    return dict(found)


def effects(event: dict[str, Any], type: str) -> list[dict[str, Any]]:
    return [e for e in event["effects"] if e["event"]["type"] == type]


async def traced(world: World, id: str, *more: str) -> dict[str, Any]:
    done = await world.lianxin("trace", id, "--json", *more)
    (event,) = done.facts["events"]
    assert event["event"]["id"] == id
    return dict(event)


async def handled(world: World, of: Running, id: str) -> None:
    async def settled() -> bool:
        return await world.inbox(of, id) is not None

    await eventually(settled, world.patience)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enrollment has a bug: discharges of ward 99 make its rule fail."""
    handlers = dict(enrollment.SPEC.handlers)
    right = handlers[DISCHARGED]

    def decide(input: Input, state: State, env: Env) -> Answer:
        if input.subject.startswith("e99"):
            raise ZeroDivisionError
        return right.decide(input, state, env)

    handlers[DISCHARGED] = replace(right, decide=decide)
    monkeypatch.setattr(enrollment, "SPEC", replace(enrollment.SPEC, handlers=handlers))


@pytest.fixture
def no_broker_to_send_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service decides stays in its outbox."""
    (port,) = free_ports(1)
    monkeypatch.setattr(Runtime, "_producer", lambda _: Producer(f"127.0.0.1:{port}"))


async def test_on_its_topic_while_nobody_reads(world: World) -> None:
    id = new_id()
    await world.publish((id, discharge()))
    event = await traced(world, id)
    assert event["event"]["hospital"] == world.hospital
    assert event["place"][0] == "hospital.encounters"
    assert event["outbox"] is None and event["effects"] == []
    mine = reading(event, "enrollment")
    assert (mine["state"], mine["members"]) == ("not reached", 0)
    shown = await world.lianxin("trace", id)
    assert shown.code == 1 and "nobody reads for it now" in shown.out


async def test_in_its_publishers_outbox_while_kafka_is_away(
    world: World, no_broker_to_send_to: None
) -> None:
    id = new_id()
    await world.publish((id, discharge()))
    async with world.service("enrollment") as service:
        await handled(world, service, id)
        event = await traced(world, id)
        assert reading(event, "enrollment")["state"] == "handled"
        (issued,) = effects(event, "hospital.invitation.issued.v1")
        (asked,) = effects(event, NotificationRequested.TYPE)
        assert issued["outbox"] == asked["outbox"] == "enrollment"
        assert issued["place"] is None and issued["readings"] == []
        # And when Kafka is away for who looks, too, what the database knows is found.
        (port,) = free_ports(1)
        away = await world.lianxin(
            "trace",
            issued["event"]["id"],
            "--json",
            KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}",
        )
        assert away.facts["events"][0]["outbox"] == "enrollment"
        waiting = await world.lianxin("outbox", "enrollment", "--json")
        assert waiting.facts[0]["rows"] >= 2
        assert waiting.facts[0]["by_type"]["hospital.invitation.issued.v1"] >= 1
        away = await world.lianxin(
            "outbox", "enrollment", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}"
        )
        assert away.code == 1 and "Kafka does not answer" in away.out
    stopped = await world.lianxin("outbox", "enrollment")
    assert stopped.code == 1 and "nobody owns the lease" in stopped.out


async def test_refused_by_a_rule_with_the_reason(world: World) -> None:
    id = new_id()
    async with world.service("enrollment") as service:
        await world.publish((id, discharge(disposition=Disposition.DECEASED)))
        await handled(world, service, id)
        event = await traced(world, id)
    assert reading(event, "enrollment")["state"] == "refused"
    assert reading(event, "enrollment")["note"] == "deceased"


async def test_set_aside_because_it_can_not_be_read(world: World) -> None:
    id = new_id()
    async with world.service("enrollment") as service:
        row = world.copy_of(discharge(), id)
        await world.send(row._replace(value=b'{"encounter_id": 7}'))
        await world.publish((after := new_id(), discharge(2)))
        await handled(world, service, after)
        event = await traced(world, id)
        mine = reading(event, "enrollment")
        assert mine["state"] == "set aside" and mine["note"].startswith("schema_violation")
        (offset,) = mine["dead_letters"]
        shown = await world.lianxin("trace", id)
        assert f"lianxin dlq show enrollment {offset}" in shown.out


async def test_set_aside_because_our_rule_failed(world: World, faulty: None) -> None:
    id = new_id()
    async with world.service("enrollment") as service:
        await world.publish((id, discharge("99")))
        await handled(world, service, id)

        async def letter() -> bool:
            return bool(reading(await traced(world, id), "enrollment")["dead_letters"])

        await eventually(letter, world.patience)
        mine = reading(await traced(world, id), "enrollment")
    assert (mine["state"], mine["note"]) == ("set aside", "rule_failed")


async def test_behind_a_consumer_that_has_stopped(world: World, faulty: None) -> None:
    bad, id = [new_id() for _ in range(OWN_FAULTS * 2)], new_id()
    async with world.service("enrollment") as service:
        await world.publish(*((each, discharge(f"99{n}")) for n, each in enumerate(bad)))

        async def stopped() -> bool:
            return service.runtime.consumer.stopped

        await eventually(stopped, world.patience)
        await world.publish((id, discharge(2)), (new_id(), discharge("991")))
        mine = reading(await traced(world, id), "enrollment")
        assert (mine["state"], mine["members"]) == ("not reached", 1)
        assert "stopped" in mine["note"]
        status = await world.lianxin("status")
        assert status.code == 1 and "its consumer has stopped" in status.out


async def test_handled_with_what_it_led_to_down_to_the_notification(world: World) -> None:
    id = new_id()
    async with world.service("enrollment") as service, world.service("notify"):
        await world.publish((id, discharge()))
        await handled(world, service, id)

        async def told() -> Any:
            event = await traced(world, id)
            (asked,) = effects(event, NotificationRequested.TYPE)
            return asked["notification"] and event

        event = await eventually(told, world.patience)
        (asked,) = effects(event, NotificationRequested.TYPE)
        assert reading(asked, "notify")["state"] == "handled"
        assert asked["notification"]["status"] == "told"
        # Found at once by its names, without a search of the topics.
        names = ("--hospital", world.hospital, "--source", HIS, "--from", "1s")
        named = await traced(world, id, *names)
        assert named["place"] == event["place"]


async def test_a_notification_that_waits_for_a_contact_and_one_that_the_mail_server_does_not_take(
    world: World,
) -> None:
    unknown, known = new_id(), new_id()
    person = PatientRegistered(
        patient_id="p1",
        name="赵文博",
        birth_date=date(1961, 5, 3),
        email="p1@example.org",
        updated_at=JUST_NOW,
    )
    (port,) = free_ports(1)
    mail = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
    async with world.service("notify", **mail, smtp_from="lianxin@hospital.example") as service:
        await world.publish((first := new_id(), person))
        await handled(world, service, first)
        await world.publish((unknown, asked_for("nobody")), (known, asked_for("p1")))

        async def attempted() -> Any:
            told = (await traced(world, known))["notification"]
            return told and any(d["attempt"] for d in told["deliveries"]) and told

        told = await eventually(attempted, world.patience)
        (delivery,) = told["deliveries"]
        assert (told["status"], delivery["channel"]) == ("told", "email")
        assert delivery["status"] != "sent"
        shown = await world.lianxin("trace", known)
        assert "email: " in shown.out and "p1@example.org" not in shown.out
        assert (await traced(world, unknown))["notification"]["status"] == "waiting"


def asked_for(person: str) -> NotificationRequested:
    now = datetime.now(UTC).replace(microsecond=0)
    return NotificationRequested(
        notification_id=f"n-{person}",
        recipient_id=person,
        patient_id=person,
        template="report.ready",
        parameters={"kind": "imaging"},
        dedupe_key=f"n-{person}",
        event_time=now,
        expires_at=now + timedelta(days=7),
    )


async def test_what_is_nowhere_is_told_with_what_to_try(world: World) -> None:
    done = await world.lianxin("trace", new_id())
    assert done.code == 1 and "--from" in done.err and "--hospital" in done.err
