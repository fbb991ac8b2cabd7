"""What does handling an event cost, counted so that no machine's mood matters?

Function calls for each event, database commands and Kafka requests for each batch: the
gates under the benchmarks of bench/, whose times are never tested. The aims are in
docs/performance.md.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest
from aiokafka.client import AIOKafkaClient

from bench.ours import ours
from bench.profiled import CallMeter
from bench.world import BATCH, EVENTS, Meter, World, prefill
from libs.common.decision import Answer, Decision, Document, Env, Handler, Input, Need, State, by_id
from libs.common.engine import RULE_ATTEMPTS, Engine
from libs.common.kafka.producer import Producer
from libs.common.lease import LEASES
from libs.common.migrate import migrate
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.rows import OUTBOX
from libs.common.telemetry import Tracer
from tests.support.toy import SPEC, Replica, Tally, Toy, needs, tick_command

#: Python code for each event, our own and the libraries' that we call; see docs/performance.md.
CALLS_PER_EVENT = 150
#: find inbox, find aggregates, insert inbox, write aggregates, insert outbox, commit; delete.
COMMANDS_PER_BATCH = 7
MORE_FOR_EACH_COLLECTION = 2


class Commands:
    """Told of each database command (the port that makes spans of them)."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str | None]] = Counter()

    def command_started(self, name: str, collection: str | None, request_id: int) -> None:
        self.counted[name, collection] += 1

    def command_succeeded(self, request_id: int) -> None: ...

    def command_failed(self, request_id: int, error_type: str) -> None: ...


class Note(Document):
    """A second kind of aggregate."""

    COLLECTION: ClassVar[str] = "notes"

    text: str = ""


NOTES = CollectionSpec(Note)


def _both(input: Input, state: State) -> list[Need]:
    return [*needs(input, state), *by_id(Note, input.data.name)]


def _tally_and_note(input: Input, state: State, env: Env) -> Answer:
    name, hospital = input.data.name, input.hospital
    tally = state.get(Tally, name) or Tally(id=name, hospital=hospital)
    note = state.get(Note, name) or Note(id=name, hospital=hospital)
    return Decision(changes=(tally.but(count=tally.count + 1), note.but(text="x")))


class Counting:
    """A replica whose database commands are counted, batch by batch."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self.commands = Commands()
        self.database = Database(toy.mongo_url, toy.name, spans=self.commands)
        toy.databases.append(self.database)
        self.producers: list[Producer] = []
        self.replica = Replica(toy, self.database, producer=self.producer)
        self.engine = self.replica.engine

    def producer(self) -> Producer:
        self.producers.append(Producer(self.toy.bootstrap))
        return self.producers[-1]

    def with_notes(self) -> None:
        handler = Handler(self.toy.ticked, _both, _tally_and_note)
        self.engine = Engine(
            service=self.toy.name,
            database=self.database,
            collections=[SPEC, NOTES],
            handlers={"toy.tick": handler},
            policy=None,
            relay=self.replica.relay,
            ports=self.toy.ports,
            tracer=Tracer(self.toy.name, 0.0, None),
        )

    async def batch(self, names: Sequence[str], id: str) -> Counter[tuple[str, str | None]]:
        """The commands of one batch, from its inputs to the deletion of what was sent."""
        inputs = [tick_command(self.toy, name, 1, id=f"{name}/{id}") for name in names]
        self.commands.counted.clear()
        await self.engine.run(inputs)
        await self.replica.relay.step()
        await self.replica.relay.settled()
        counted = self.commands.counted.copy()
        # By the clock, whether there are batches or not: the lease, the look at the outbox.
        timed = {("find", OUTBOX)} | {key for key in counted if key[1] == LEASES}
        return Counter({key: n for key, n in counted.items() if key not in timed})


@pytest.fixture
async def counting(toy: Toy) -> AsyncIterator[Counting]:
    found = Counting(toy)
    await found.replica.lease.step()
    async with found.replica.running("lease"):
        await found.replica.relay.step()  # its look at the outbox, once at the beginning
        yield found
    for producer in found.producers:
        await producer.stop()


@pytest.mark.skipif(
    sys.version_info[:2] > (3, 11), reason="the gate is for the calls as Python 3.11 counts them"
)
async def test_an_event_takes_no_more_function_calls_than_it_may(toy: Toy) -> None:
    topic = f"{toy.name}.prefilled"
    await prefill(toy.bootstrap, topic, sampled_every=0)
    meter = CallMeter(events=EVENTS)
    world = World(bootstrap=toy.bootstrap, mongo_url=toy.mongo_url, topic=topic, meter=meter)
    await world.prepare()
    await ours(world)
    await world.toy.remove()
    print(f"{meter.calls:.1f} calls for each event")
    assert 50 < meter.calls <= CALLS_PER_EVENT


@pytest.mark.parametrize("events", [1, 50, BATCH])
async def test_a_batch_of_new_aggregates_takes_seven_commands_however_many_events_it_has(
    counting: Counting, events: int
) -> None:
    counted = await counting.batch([f"n{i}" for i in range(events)], "first")
    assert sum(counted.values()) <= COMMANDS_PER_BATCH, counted


@pytest.mark.parametrize("events", [1, 50, BATCH])
async def test_a_batch_of_known_aggregates_takes_no_more(counting: Counting, events: int) -> None:
    names = [f"n{i}" for i in range(events)]
    await counting.batch(names, "first")
    counted = await counting.batch(names, "second")
    assert counted["update", "tallies"] == 1, counted
    assert sum(counted.values()) <= COMMANDS_PER_BATCH, counted


async def test_a_second_kind_of_aggregate_adds_at_most_two_commands(
    toy: Toy, counting: Counting
) -> None:
    await migrate(toy.database, [NOTES])
    counting.with_notes()
    names = [f"n{i}" for i in range(BATCH)]
    for time in ("first", "second"):
        counted = await counting.batch(names, time)
        assert counted["find", "notes"] == 1, counted
        assert sum(counted.values()) <= COMMANDS_PER_BATCH + MORE_FOR_EACH_COLLECTION, counted


async def test_repeated_events_are_looked_up_and_nothing_more(counting: Counting) -> None:
    names = [f"n{i}" for i in range(BATCH)]
    await counting.batch(names, "first")
    counted = await counting.batch(names, "first")
    assert counted == {("find", "inbox"): 1, ("find", "tallies"): 1}


async def test_a_rule_with_a_forgotten_need_costs_a_few_loads_and_not_one_for_each_event(
    toy: Toy, counting: Counting
) -> None:
    handler = Handler(toy.ticked, lambda _input, _state: [], _tally_and_note)
    counting.engine = Engine(
        service=toy.name,
        database=counting.database,
        collections=[SPEC, NOTES],
        handlers={"toy.tick": handler},
        policy=None,
        relay=counting.replica.relay,
        ports=toy.ports,
        tracer=Tracer(toy.name, 0.0, None),
    )
    counted = await counting.batch([f"n{i}" for i in range(100)], "first")
    assert counted["find", "inbox"] == RULE_ATTEMPTS
    assert {r["fate"] for r in await toy.rows("inbox")} == {"rejected"}


@pytest.mark.parametrize("size", [20, BATCH])
async def test_kafka_gets_one_commit_and_one_send_for_a_batch_whatever_its_size(
    toy: Toy, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: Counter[str] = Counter()
    send = AIOKafkaClient.send

    async def counted(client: Any, node: Any, request: Any, **named: Any) -> Any:
        requests[type(request).__name__] += 1
        return await send(client, node, request, **named)

    batches = 8
    await toy.publish([toy.event(f"p{i}", 1) for i in range(batches * size)])
    meter = Meter(events=batches * size)
    replica = toy.replica(batch_records=size, producer=meter.producer(toy.bootstrap))
    await replica.lease.step()
    monkeypatch.setattr(AIOKafkaClient, "send", counted)
    async with replica.running("relay", "lease", "consumer"):
        await meter.all_acknowledged()
        await replica.consumer.stop()
    assert requests["OffsetCommitRequest"] <= batches + 3, requests
    assert requests["ProduceRequest"] <= 3 * (batches + 3), requests
