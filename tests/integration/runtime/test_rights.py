"""Are the rights that each service is given on Kubernetes enough for its work, and no more?

The KafkaUser resources as they stand, granted on a real broker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from libs.common import topic_registry
from libs.common.broker import Broker
from libs.common.devstack import topics
from libs.common.devstack.places import ROOT, SERVICES
from libs.common.kafka.admin import Kafka
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import cluster
from libs.common.kafka.member import ConsumerClient
from libs.common.kafka.producer import Producer
from libs.common.kafka.rights import OPERATORS
from libs.common.kafka.topics import TopicSpec, create_topics
from scripts.sandbox import Outgoing
from tests.integration.kit.programs import compiled
from tests.support import secured

pytestmark = pytest.mark.timeout(300)  # a broker of its own

#: Who may do everything, and is no user of the installation.
INSIDE = "inside"
REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)


def writes(service: str) -> set[str]:
    return {t.name for t in REGISTRY.values() if f"lianxin.{service}" in t.producers}


def reads(service: str) -> set[str]:
    return {t.name for t in REGISTRY.values() if f"lianxin.{service}" in t.consumers}


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Broker]]:
    folder = tmp_path_factory.mktemp("rights")
    classes = compiled(folder / "classes", ROOT / "tests/integration/kit/Grant.java")
    with secured.broker(folder / "kafka") as at:
        topics.create(at.inside)

        known = {name: secured.rendered(name) for name in (*SERVICES, OPERATORS)}
        yield {INSIDE: Broker(at.inside), **secured.grant(at, classes, known)}


async def _write(broker: Broker, topic: str) -> None:
    producer = Producer(broker)  # idempotent, as the services' is
    await producer.start()
    try:
        row = Outgoing(topic, b"h1/p-1", b"{}", [])
        assert await producer.send([row]) == [row]
    finally:
        await producer.abandon()


async def _kept() -> None:
    return None


async def _read(broker: Broker, group: str, names: set[str], least: int) -> None:
    """``least`` records, and where the group stands, kept."""
    client = ConsumerClient(broker, group, sorted(names), revoked=_kept)
    await client.start()
    try:
        found = 0
        for _ in range(20):
            records = await client.poll(max_records=500, timeout=1)
            found += len(records)
            if records:
                assert await client.commit({(r.topic, r.partition): r.offset + 1 for r in records})
            if found >= least and client.assigned() == sum(REGISTRY[n].partitions for n in names):
                return
        raise AssertionError(f"{found} of {least} records came, {client.assigned()} partitions")
    finally:
        await client.stop()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_write_and_read_all_that_the_registry_says(
    users: Mapping[str, Broker], service: str
) -> None:
    for topic in writes(service):
        await _write(users[service], topic)
    for topic in reads(service):
        await _write(users[INSIDE], topic)
    await _read(users[service], f"lianxin.{service}", reads(service), len(reads(service)))


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_not_write_a_topic_of_others(
    users: Mapping[str, Broker], service: str
) -> None:
    async with AIOKafkaProducer(**users[service].options()) as producer:
        for topic in sorted(REGISTRY.keys() - writes(service)):
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"{}")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_not_read_a_topic_of_others_nor_its_own_dead_letters(
    users: Mapping[str, Broker], service: str
) -> None:
    async with AIOKafkaConsumer(**users[service].options()) as consumer:
        # Who may read a topic may see it.
        assert await consumer.topics() == reads(service) | writes(service)
        for topic in sorted(writes(service) - reads(service)):
            place = TopicPartition(topic, 0)
            consumer.assign([place])
            consumer.seek(place, 0)
            with pytest.raises(TopicAuthorizationFailedError):
                await consumer.getmany(place, timeout_ms=10_000)


async def test_a_service_may_not_take_part_in_the_group_of_another(
    users: Mapping[str, Broker],
) -> None:
    with pytest.raises(BusError, match="GroupAuthorizationFailed"):
        await _read(users["reports"], "lianxin.notify", reads("reports"), 1)


@pytest.mark.parametrize("service", SERVICES)
async def test_operators_may_set_a_service_s_group_back(
    users: Mapping[str, Broker], service: str
) -> None:
    """After a restore: docs/runbook.md#back-up-and-restore."""
    group, back = f"lianxin.{service}", {(topic, 0): 0 for topic in reads(service)}
    async with cluster(users[OPERATORS]) as at:
        await at.set_committed(group, back)
    kafka = Kafka(users[OPERATORS])
    try:
        stands = await kafka.committed(group)
    finally:
        await kafka.close()
    assert back.items() <= stands.items()


async def test_nobody_may_create_a_topic(users: Mapping[str, Broker]) -> None:
    for name in (*SERVICES, OPERATORS):
        broker = users[name]
        with pytest.raises(BusError, match="AuthorizationFailed"):
            await create_topics(broker, [TopicSpec("hospital.new", 1, 1, {})])
