"""Do the three journeys pass through our images, started as the manifests say?

The rendered manifests of the overlay ``dev`` are played by podman over a Kafka and a database that
want TLS and a password: each service is a user of its own there, with the rights in Kafka that its
KafkaUser has, and the password in the Secret that the manifests name. Probes are asked by the test.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from libs.common.broker import Broker
from libs.common.dev_issuer import JWKS_FILE
from libs.common.devstack import services
from libs.common.devstack.day.cast import STAFF
from libs.common.devstack.day.records import practitioner
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.places import ROOT, SERVICES, free_ports
from libs.common.devstack.stack import Stack
from tests.containers.played import START, Playing
from tests.e2e import test_discharge_to_group, test_refill, test_report_to_push
from tests.e2e.given import Story
from tests.integration.kit.programs import compiled
from tests.support import secured
from tests.support.manifests import Manifests
from tests.support.podman import Container, podman

#: Six images may have to be built first.
pytestmark = pytest.mark.timeout(1500)

# The journeys themselves, as they are told of services that run without containers.
test_a_discharge_leads_to_membership = (
    test_discharge_to_group.test_a_stroke_patient_is_invited_joins_and_is_welcomed
)
test_a_report_leads_to_a_push = (
    test_report_to_push.test_a_final_report_is_told_without_its_result_and_read_by_its_patient
)
test_a_renewal_becomes_effective = (
    test_refill.test_three_renewals_run_through_and_the_fourth_is_refused_in_plain_words
)


@dataclass(frozen=True)
class Played:
    stack: Stack
    urls: Mapping[str, str]
    containers: Mapping[str, Container]


@pytest.fixture(scope="module")
def played(
    built: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("played")
    classes = compiled(folder / "classes", ROOT / "tests/integration/kit/Grant.java")
    with ExitStack() as closing:
        kafka = closing.enter_context(secured.broker(folder / "kafka"))
        mongo = closing.enter_context(secured.mongo(folder / "mongo"))
        users = secured.grant(kafka, classes, {s: secured.rendered(s) for s in SERVICES})
        patch = closing.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.inside)
        stack = closing.enter_context(Stack(folder / "stack"))
        stack.start_page()
        stack.issuer()
        keys = (services.issuer_folder(stack.folder) / JWKS_FILE).read_text()
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        playing = Playing(
            Manifests.of("dev"),
            f"lianxin-{uuid.uuid4().hex[:8]}",
            built,
            settings(stack, kafka, mongo, ports),
            known(kafka, mongo, users, stack),
            {"dev-issuer": {JWKS_FILE: keys}},
        )
        containers = closing.enter_context(playing.running())
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        for name, url in urls.items():
            wait_ready(url, containers[name])
        yield Played(stack, urls, containers)


def settings(
    stack: Stack,
    kafka: secured.SecuredBroker,
    mongo: secured.SecuredDatabase,
    ports: Mapping[str, int],
) -> dict[str, dict[str, str]]:
    """Where the parts are on this machine; all else is as rendered."""
    told = stack.service_environment()
    (mllp,) = free_ports(1)
    found = {name: {"HTTP_PORT": str(port)} for name, port in ports.items()}
    found["lianxin"] = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.outside,
        "MONGO_URL": mongo.url,
        "OIDC_ISSUER": told["OIDC_ISSUER"],
        "OTEL_EXPORTER_OTLP_ENDPOINT": told["OTEL_EXPORTER_OTLP_ENDPOINT"],
        "HTTP_HOST": "127.0.0.1",
    }
    found["enrollment"]["PUBLIC_BASE_URL"] = f"http://127.0.0.1:{ports['enrollment']}"
    found["prescriptions"]["PRESCRIPTIONS_PUBLIC_URL"] = (
        f"http://127.0.0.1:{ports['prescriptions']}"
    )
    interop = {"INTEROP_PUBLIC_URL": f"http://127.0.0.1:{ports['interop']}", "MLLP_PORT": str(mllp)}
    found["interop"] |= interop
    mail = {name: value for name, value in told.items() if name.startswith("SMTP_")}
    found["notify"] |= {**mail, "WEBHOOK_ALLOW_PRIVATE": told["WEBHOOK_ALLOW_PRIVATE"]}
    return found


def known(
    kafka: secured.SecuredBroker,
    mongo: secured.SecuredDatabase,
    users: Mapping[str, Broker],
    stack: Stack,
) -> dict[str, dict[str, bytes]]:
    """The Secrets that an installation makes."""
    key = base64.b64encode(secrets.token_bytes(32))
    webhooks = stack.service_environment()["WEBHOOK_SECRET"]
    found = {
        "lianxin-kafka-cluster-ca-cert": {"ca.crt": kafka.ca.read_bytes()},
        "mongodb-ca": {"ca.crt": mongo.ca.read_bytes()},
        "cipher-keys": {"active": b"k1", "k1.key": key},
        "notify-webhooks": {"secret": webhooks.encode()},
    }
    who = {"username": mongo.username.encode(), "password": mongo.password.encode()}
    for service, user in users.items():
        found[f"{service}-kafka"] = {"password": user.password.encode()}
        found[f"{service}-mongodb"] = who
    return found


def wait_ready(url: str, container: Container) -> None:
    """As the kubelet asks: alive first, then ready."""
    until = time.monotonic() + START
    for path in ("/livez", "/readyz"):
        while True:
            try:
                if httpx.get(url + path, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert container.running() and time.monotonic() < until, container.logs()
            time.sleep(0.2)


@pytest.fixture
async def wire(played: Played) -> AsyncIterator[Wire]:
    async with Wire.to(played.stack, played.urls) as connected:
        yield connected


@pytest.fixture
async def story(wire: Wire) -> Story:
    told = Story(wire, 1)
    await wire.publish(*(practitioner(p, told.now()) for p in STAFF.values()))
    return told


def test_pods_have_the_rights_that_the_manifests_give(played: Played) -> None:
    for name, container in played.containers.items():
        status = podman("exec", container.name, "cat", "/proc/1/status")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert told["Uid"].split() == told["Gid"].split() == ["10001"] * 4, name
        assert (told["CapEff"], told["NoNewPrivs"], told["Seccomp"]) == ("0" * 16, "1", "2"), name
        (found,) = json.loads(podman("inspect", container.name))
        assert found["HostConfig"]["ReadonlyRootfs"], name
        writable = {m["Destination"] for m in found["Mounts"] if m["RW"]}
        assert writable == ({"/run/signing-keys"} if name == "prescriptions" else set())
        assert found["HostConfig"]["Memory"] >= 512 * 2**20, name


async def test_nothing_was_set_aside(wire: Wire) -> None:
    assert wire.dead_letters == []
