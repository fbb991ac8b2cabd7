"""Which topics exist? Those of the registry under ``contracts/topics``, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from libs.common import topic_registry
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import ROOT
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import LARGEST_RECORD
from libs.common.kafka.topics import TopicSpec, create_topics
from libs.common.replays import replay_topic


def specs() -> list[TopicSpec]:
    """The registry's topics as one machine has them: one copy of each."""
    return [
        TopicSpec(topic.name, topic.partitions, 1, topic.config)
        for topic in topic_registry.read(ROOT / topic_registry.FOLDER).values()
    ]


def own(group: str) -> list[TopicSpec]:
    """What a consumer group beside those of the registry needs: its letters, and what is read
    again."""
    config = {"max.message.bytes": str(LARGEST_RECORD)}
    return [TopicSpec(name, 1, 1, config) for name in (f"{group}.dlq", replay_topic(group))]


def create(bootstrap: str, wanted: Sequence[TopicSpec] = ()) -> None:
    """Create what is missing of ``wanted``, or else of the registry. In a thread, since the
    caller may have an event loop running."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(asyncio.run, create_topics(bootstrap, wanted or specs())).result()
        except BusError as e:
            raise StackError(
                f"The topics of contracts/topics could not be created ({e}): if another program's "
                "topics stand in the way, `make clean` starts afresh."
            ) from e
