"""Is nothing lost when the database is put back from a backup and its group is rewound?

The drill of docs/runbook.md ("Back up and restore") on one service. A snapshot by the driver stands
in for mongodump, which is not to be had here (docs/verification.md); what comes after is the same.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common import topic_registry
from libs.common.cloudevents import CloudEvent
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.events import EncounterDischarged, InvitationIssued
from services.enrollment.main import SPEC
from tests.integration.enrollment.conftest import Hospital
from tests.support.topics import own_topics
from tests.support.toy import eventually
from tests.unit.enrollment.given import discharged

Documents = Mapping[str, list[dict[str, Any]]]
#: Before the backup began: offsets and clocks of several brokers and servers agree no better.
MARGIN = timedelta(minutes=5)
REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)
JUST_NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


def discharges(first: int, last: int) -> list[tuple[str, EncounterDischarged]]:
    return [(f"d{n}", discharged(f"p{n}", f"e{n}", at=JUST_NOW)) for n in range(first, last)]


@dataclass
class Installation:
    stack: Stack
    database: pymongo.database.Database[dict[str, Any]]
    group: str

    @contextmanager
    def service(self) -> Iterator[Hospital]:
        """Up for the block: as before, or as over what was put back."""
        told = {"MONGO_DATABASE": self.database.name, "KAFKA_GROUP": self.group}
        self.stack.migrate("enrollment", environment=told)
        self.stack.start_service("enrollment", environment=told)
        try:
            yield Hospital(self.stack, self.stack.service_url("enrollment"), self.hospital)
        finally:
            self.stack.remove("enrollment")

    def backup(self) -> Documents:
        """All collections as they are at one moment, whatever is written meanwhile."""
        names = self.database.list_collection_names()
        with self.database.client.start_session() as session, session.start_transaction():
            return {name: list(self.database[name].find({}, session=session)) for name in names}

    def restore(self, documents: Documents) -> None:
        self.database.client.drop_database(self.database.name)
        self.stack.migrate("enrollment", environment={"MONGO_DATABASE": self.database.name})
        for name, found in documents.items():
            if found:
                self.database[name].insert_many(found)

    async def rewind(self, time: datetime) -> None:
        """As kafka-consumer-groups.sh --reset-offsets --to-datetime does."""
        client = AIOKafkaConsumer(
            bootstrap_servers=self.stack.bootstrap, group_id=self.group, enable_auto_commit=False
        )
        await client.start()
        try:
            parts = [
                TopicPartition(topic, part)
                for topic in SPEC.topics
                for part in range(REGISTRY[topic].partitions)
            ]
            client.assign(parts)
            at = await client.offsets_for_times(dict.fromkeys(parts, int(time.timestamp() * 1e3)))
            ends = await client.end_offsets(parts)
            await client.commit({p: at[p].offset if at[p] else ends[p] for p in parts})
        finally:
            await client.stop()

    @property
    def hospital(self) -> str:
        """This test's own: the group reads what others have left on the topics, too."""
        return f"it-{self.group.replace('.', '-')}"

    def count(self, collection: str) -> int:
        return self.database[collection].count_documents({"hospital": self.hospital})

    def settled(self) -> int:
        """Rows of the inbox."""
        return self.database["inbox"].count_documents({"_id": {"$regex": rf"^{self.hospital}\|"}})


@pytest.fixture
async def installation(stack: Stack) -> AsyncIterator[Installation]:
    mine = uuid.uuid4().hex[:8]
    await own_topics(stack.bootstrap, f"enrollment.{mine}")
    with pymongo.MongoClient[dict[str, Any]](stack.mongo_url) as client:
        database = client[f"enrollment_{mine}"]
        yield Installation(stack, database, f"enrollment.{mine}")
        client.drop_database(database.name)


async def issued(hospital: Hospital, least: int, twice: frozenset[str] = frozenset()) -> set[str]:
    """The ids of what invited ``least`` persons, once those in ``twice`` came a second time."""
    found: Counter[str] = Counter()

    def whole(events: list[CloudEvent]) -> bool:
        found.clear()
        found.update(e.id for e in events if isinstance(e.data, InvitationIssued))
        return len(found) >= least and all(found[id] > 1 for id in twice)

    await hospital.heard("enrollment.events", whole)
    return set(found)


async def test_what_came_after_the_backup_comes_again_and_what_the_backup_has_changes_nothing(
    installation: Installation,
) -> None:
    with installation.service() as hospital:
        await hospital.publish(*discharges(0, 20))
        early = await issued(hospital, 20)
        began, backup = datetime.now(UTC), installation.backup()
        await hospital.publish(*discharges(20, 40))
        before = await issued(hospital, 40)

    installation.restore(backup)
    assert installation.count("invitations") == 20
    await installation.rewind(began - MARGIN)

    with installation.service() as hospital:

        async def caught_up() -> bool:
            return installation.count("invitations") >= 40

        await eventually(caught_up, 60)
        # What is published again has the same ids, by which every reader knows it.
        assert await issued(hospital, 40, twice=frozenset(before - early)) == before

    found = installation.database["invitations"].find({"hospital": installation.hospital})
    invited = Counter(invitation["person_id"] for invitation in found)
    assert invited == {f"p{n}": 1 for n in range(40)}
    assert installation.settled() == 40  # each discharge once, however often it came


async def test_without_the_rewind_it_would_be_missing(installation: Installation) -> None:
    with installation.service() as hospital:
        await hospital.publish(*discharges(0, 2))
        await issued(hospital, 2)
        backup = installation.backup()
        await hospital.publish(*discharges(2, 4))
        await issued(hospital, 4)
    installation.restore(backup)
    with installation.service() as hospital:
        await hospital.publish(*discharges(4, 5))

        async def newest() -> bool:
            return installation.settled() >= 3

        await eventually(newest, 60)
    assert installation.count("invitations") == 3  # of 5
