"""Which topics are there, and how are those made that are not?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from libs.common.broker import Broker
from libs.common.kafka.client import BusError, ended, reach


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@asynccontextmanager
async def _admin(broker: Broker | str) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(**reach(broker))
    try:
        async with asyncio.timeout(10):
            await client.start()
        yield client
    except (KafkaError, OSError, TimeoutError) as error:
        raise BusError(type(error).__name__) from error
    finally:
        # Beside us: it swallows a cancellation of ours that comes while it waits.
        await ended(client.close(), 5)


async def topics_missing(broker: Broker | str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the broker does not have, or does not show to us. Whoever
    subscribes to one of them reads nothing of the others either."""
    async with _admin(broker) as admin:
        async with asyncio.timeout(10):
            there = await admin.list_topics()
    return sorted(set(names) - set(there))


async def create_topics(broker: Broker | str, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that don't exist yet; returns their names."""
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        missing = [s for s in specs if s.name not in existing]
        if not missing:
            return []
        answer = await admin.create_topics(
            [
                NewTopic(s.name, s.partitions, s.replication, topic_configs=dict(s.config))
                for s in missing
            ]
        )
        for topic, code, *message in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise BusError(f"topic {topic}: {error.__name__} {message}")
        return [s.name for s in missing]
