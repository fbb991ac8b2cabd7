"""How do operators' commands see a Kafka cluster, and what may they change in it?

Topics with their copies and settings, brokers' settings, where consumer groups stand. It
creates, adds and sets; nothing here deletes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IllegalStateError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from libs.common.broker import Broker
from libs.common.kafka.client import BusError, reach
from libs.common.kafka.record import Offsets
from libs.common.kafka.topics import TopicSpec
from libs.common.kafka.wire import DescribeGroups, IncrementalAlterConfigs, Metadata, Prepared

#: Seconds for one answer.
ANSWER: Final = 20.0
#: As Kafka counts them (org.apache.kafka.common.acl.AclOperation); others concern nobody here.
OPERATIONS: Final[Mapping[str, int]] = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Delete": 6,
    "Alter": 7,
    "Describe": 8,
    "ClusterAction": 9,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
}
#: In a cluster that is new or was just restarted, for a moment.
_NOT_YET: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_NOT_SAID: Final = -(2**31)
_TOPIC, _SET = 2, 0


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. ``copies``: of the partition that has the fewest; ``behind``: partitions
    that have fewer copies in step than they should; ``may``: what we may do to it."""

    name: str
    partitions: int
    copies: int
    behind: int
    may: frozenset[str]


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group as it is; ``state`` is Kafka's word (``Empty``, ``Stable``, …)."""

    name: str
    state: str
    members: int
    may: frozenset[str]


def _may(bits: int) -> frozenset[str]:
    if bits == _NOT_SAID:
        return frozenset()
    return frozenset(name for name, bit in OPERATIONS.items() if bits >> bit & 1)


def check(code: int, message: str | None, what: str) -> None:
    """Raises :class:`BusError` unless an answer's code says that all is well."""
    if code:
        raise BusError(f"{what}: {for_code(code).__name__}{f' ({message})' if message else ''}")


@asynccontextmanager
async def cluster(broker: Broker | str) -> AsyncIterator[Cluster]:
    """A connection for a command; ``BusError`` if it can't be had or breaks."""
    client = AIOKafkaAdminClient(**reach(broker), request_timeout_ms=int(ANSWER * 1000))
    try:
        await asyncio.wait_for(client.start(), ANSWER)
        yield Cluster(client, broker)
    except (KafkaError, OSError, TimeoutError, NotImplementedError) as error:
        raise BusError(f"{type(error).__name__}{f' ({error})' if str(error) else ''}") from error
    finally:
        await client.close()


class Cluster:
    """What operators ask of a cluster, and change."""

    def __init__(self, client: Any, broker: Broker | str) -> None:
        self._client, self._broker = client, broker

    async def send(self, struct: type[Any], *fields: object, node: int | None = None) -> Any:
        """One request of ``wire.py``, to a broker: any, or ``node``."""
        return await self._client._send_request(Prepared(struct, *fields), node)

    async def controller(self) -> int:
        """The broker that passes changes on to the controller."""
        found = await self.send(Metadata, [], False, False, False)
        return int(found.controller_id)

    async def brokers(self) -> dict[int, str]:
        """Their addresses by their ids."""
        found = await self.send(Metadata, [], False, False, False)
        return {id: f"{host}:{port}" for id, host, port, _rack in found.brokers}

    async def topics(self, names: Collection[str] | None = None) -> dict[str, TopicState]:
        """Those that we may see, by name; with ``names`` none but these. Kafka's own are left
        out."""
        wanted = None if names is None else list(names)
        found = await self.send(Metadata, wanted, False, False, True)
        states: dict[str, TopicState] = {}
        for code, name, internal, partitions, operations in found.topics:
            error = for_code(code)
            if error in (UnknownTopicOrPartitionError, TopicAuthorizationFailedError) or internal:
                continue
            check(code, None, name)
            states[name] = TopicState(
                name,
                len(partitions),
                min((len(replicas) for *_, replicas, _in, _off in partitions), default=0),
                sum(len(in_sync) < len(reps) for *_, reps, in_sync, _off in partitions),
                _may(operations),
            )
        return states

    async def denied(self, names: Collection[str]) -> set[str]:
        """Those of ``names`` of which we may not even know whether they are there."""
        found = await self.send(Metadata, list(names), False, False, False)
        return {t[1] for t in found.topics if for_code(t[0]) is TopicAuthorizationFailedError}

    async def topic_configs(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """The settings in force of each topic, whether its own or the brokers'."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        return await self._configs(resources)

    async def broker_configs(self) -> dict[str, dict[str, str]]:
        """The settings of each broker, by its id."""
        ids = await self.brokers()
        return await self._configs(
            [ConfigResource(ConfigResourceType.BROKER, str(id)) for id in ids]
        )

    async def _configs(self, resources: Sequence[ConfigResource]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for answer in await self._client.describe_configs(list(resources)) if resources else ():
            for code, message, _type, name, entries in answer.resources:
                check(code, message, f"settings of {name}")
                found[name] = {entry[0]: entry[1] or "" for entry in entries}
        return found

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        news = [
            NewTopic(s.name, s.partitions, s.replication, topic_configs=dict(s.config))
            for s in specs
        ]
        answer = await self._client.create_topics(news)
        for name, code, *message in answer.topic_errors:
            check(code, message[0] if message else None, f"topic {name}")

    async def add_partitions(self, name: str, total: int) -> None:
        await self._client.create_partitions({name: NewPartitions(total)})

    async def set_config(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these; a topic's other settings stay as they are."""
        changes = [(key, _SET, value) for key, value in config.items()]
        answer = await self.send(IncrementalAlterConfigs, [(_TOPIC, topic, changes)], False)
        for code, message, _type, name in answer.resources:
            check(code, message, f"settings of {name}")

    async def group(self, name: str) -> GroupState | None:
        """``None`` if we may not see it. A group that never was is ``Dead``."""
        async with asyncio.timeout(ANSWER):
            while True:
                try:
                    node = int(await self._client.find_coordinator(name))
                    answer = await self.send(DescribeGroups, [name], True, node=node)
                    ((code, _, state, _type, _how, members, operations),) = answer.groups
                    if code:
                        raise for_code(code)
                    return GroupState(name, state, len(members), _may(operations))
                except GroupAuthorizationFailedError:
                    return None
                except _NOT_YET:
                    await asyncio.sleep(0.2)

    async def set_committed(self, group: str, offsets: Offsets) -> None:
        """Let an empty ``group`` go on from ``offsets``. ``BusError`` if it has members."""
        client = AIOKafkaConsumer(**reach(self._broker), group_id=group, enable_auto_commit=False)
        wanted = {TopicPartition(t, p): offset for (t, p), offset in offsets.items()}
        try:
            await asyncio.wait_for(client.start(), ANSWER)
            client.assign(list(wanted))
            await asyncio.wait_for(client.commit(wanted), ANSWER)
        except (CommitFailedError, IllegalStateError) as error:
            raise BusError(f"group {group} has members: stop the service first") from error
        finally:
            await client.stop()
