"""Does a service work where broker and database want TLS and a password, and only then?"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from libs.common import topic_registry
from libs.common.broker import Broker
from libs.common.cloudevents import decode, encode
from libs.common.devstack import topics
from libs.common.devstack.child import Child, Program
from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.probe import http_answers
from libs.common.events import InvitationIssued
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.kafka.rights import of_partner
from libs.common.kafka.topics import topics_missing
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable
from scripts.sandbox import Outgoing
from tests.integration.kit.programs import compiled
from tests.support import secured
from tests.support.examples import cloud_event


@dataclass(frozen=True)
class Installation:
    kafka: secured.SecuredBroker
    mongo: secured.SecuredDatabase
    #: Who the services are, and a hospital system that may write to one topic.
    ours: Broker
    his: Broker

    def environment(self) -> dict[str, str]:
        return {
            "ENVIRONMENT": "development",
            "KAFKA_BOOTSTRAP_SERVERS": self.ours.servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_CA": str(self.kafka.ca),
            "KAFKA_USERNAME": self.ours.username,
            "KAFKA_PASSWORD": self.ours.password,
            "MONGO_URL": self.mongo.url,
            "MONGO_USERNAME": self.mongo.username,
            "MONGO_PASSWORD": self.mongo.password,
            "MONGO_TLS": "on",
            "MONGO_CA": str(self.mongo.ca),
            "POLICIES_DIR": str(ROOT / "policies"),
            "OIDC_ISSUER": "http://127.0.0.1:1/dev-issuer",
        }


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("secured")
    classes = compiled(folder / "classes", ROOT / "tests/integration/kit/Grant.java")
    with secured.broker(folder / "kafka") as kafka, secured.mongo(folder / "mongo") as mongo:
        topics.create(kafka.inside)

        his = of_partner("his", ["hospital.encounters"], ["notify.events"], topic_registry.read())
        users = {"enrollment": secured.rendered("enrollment"), "his": his}
        known = secured.grant(kafka, classes, users)
        yield Installation(kafka, mongo, known["enrollment"], known["his"])


@pytest.fixture
def enrollment(installation: Installation, tmp_path: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    env = installation.environment() | {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)}
    migrate = [sys.executable, "-m", "libs.common.migrate", "enrollment"]
    subprocess.run(migrate, env={**os.environ, **env}, cwd=ROOT, check=True, timeout=60)
    url = f"http://127.0.0.1:{port}"
    program = Program(
        name="enrollment",
        argv=[sys.executable, "-m", "services.enrollment.main"],
        ready=partial(http_answers, f"{url}/readyz"),
        env=env,
        cwd=ROOT,
    )
    with ThreadPoolExecutor(1) as spawner:
        child = Child(program, tmp_path, spawner)
        try:
            child.start()
            child.wait_ready()
            yield url
        finally:
            child.stop()


async def _send(broker: Broker, row: Outgoing) -> None:
    producer = Producer(broker)
    await producer.start()
    try:
        assert await producer.send([row]) == [row]
    finally:
        await producer.stop()


@pytest.mark.usefixtures("enrollment")
async def test_a_discharge_leads_to_an_invitation(installation: Installation) -> None:
    now = datetime.now(UTC)
    given = cloud_event("hospital.encounter.discharged.v1/adult")
    data = given.data.model_copy(update={"discharged_at": now - timedelta(minutes=1)})
    discharge = given._replace(data=data, time=now)
    await _send(installation.his, Outgoing(discharge.data.TOPIC, *encode(discharge)))
    async with asyncio.timeout(60):
        record = await anext(read_all(installation.kafka.inside, ["enrollment.events"]))
    assert isinstance(decode(record.headers, record.value).data, InvitationIssued)


async def test_who_may_write_one_topic_is_denied_the_others(installation: Installation) -> None:
    event = cloud_event("hospital.invitation.issued.v1/guardian")
    with pytest.raises(BusError, match="TopicAuthorizationFailed"):
        await _send(installation.his, Outgoing(event.data.TOPIC, *encode(event)))


@pytest.mark.parametrize(
    "wrong",
    [{"password": "guessed"}, {"ca": None}, {"protocol": "PLAINTEXT"}, {"ca": Path("/nowhere")}],
)
async def test_the_broker_does_not_answer_whom_it_or_we_do_not_know(
    installation: Installation, wrong: dict[str, object]
) -> None:
    assert await topics_missing(installation.ours, ["nowhere"]) == ["nowhere"]
    with pytest.raises(BusError):
        await topics_missing(replace(installation.ours, **wrong), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"password": "guessed"}, {"username": None, "password": None}, {"tlsCAFile": None}]
)
async def test_the_database_lets_in_only_whom_it_knows(
    installation: Installation, wrong: dict[str, str | None]
) -> None:
    mongo = installation.mongo
    right = {"username": mongo.username, "password": mongo.password, "tls": True}
    right |= {"tlsCAFile": str(mongo.ca)}
    for credentials in (right, {k: v for k, v in {**right, **wrong}.items() if v is not None}):
        database = Database(mongo.url, "probe", credentials=credentials)
        try:
            if credentials is right:
                await database.collection_names()
            else:
                with pytest.raises(Unavailable):
                    await database.collection_names()
        finally:
            await database.close()
