"""Is a credential as the partner kit describes it enough, and is it good for nothing else?

A broker with TLS, SCRAM and ACLs, as an installation has it; the kit's programs as they stand.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.common.devstack import kafka, topics
from libs.common.devstack.child import Child
from libs.common.devstack.places import Ports, free_ports
from scripts import conformance
from scripts.sandbox import fill
from tests.integration.kit.programs import KIT, environment, first_line, of, run
from tests.support.examples import FOLDER

WRITES = "hospital.encounters"
READS = "enrollment.events,hospital.encounters"
DISCHARGE = FOLDER / "hospital.encounter.discharged.v1" / "child.json"
ISSUED = FOLDER / "hospital.invitation.issued.v1" / "guardian.json"


@dataclass(frozen=True)
class Installation:
    """A broker that only lets in whom it knows, and what `his` was given."""

    #: For the operators, on a port of their own.
    inside: str
    outside: str
    password: str
    ca: Path
    properties: Path

    def of(self, language: str, password: str | None = None) -> dict[str, str]:
        """The environment of one of the kit's programs."""
        if language == "java":
            return environment(
                KAFKA_BOOTSTRAP_SERVERS=self.outside, KAFKA_PROPERTIES=str(self.properties)
            )
        return environment(
            KAFKA_BOOTSTRAP_SERVERS=self.outside,
            KAFKA_SECURITY_PROTOCOL="SASL_SSL",
            KAFKA_CA=str(self.ca),
            KAFKA_USERNAME="his",
            KAFKA_PASSWORD=password or self.password,
        )


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that is its own authority; and it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    ca, both = folder / "ca.pem", folder / "broker.pem"
    ca.write_bytes(made)
    both.write_bytes(secret + made)
    return ca, both


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, classes: Path) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("secure")
    ca, keystore = certificate(folder)
    ports, (port,) = Ports.free(), free_ports(1)
    usual = kafka.settings

    def secured(data: Path, inside: int, controller: int) -> dict[str, str]:
        found = usual(data, inside, controller)
        listener = f",CLIENTS://127.0.0.1:{port}"
        found["listeners"] += listener
        found["advertised.listeners"] += listener
        found["listener.security.protocol.map"] += ",CLIENTS:SASL_SSL"
        prefix = "listener.name.clients"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return found | {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{scram} required;",
            f"{prefix}.ssl.keystore.type": "PEM",
            f"{prefix}.ssl.keystore.location": str(keystore),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who comes by the operators' own port
        }

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as spawner:
        patch.setattr(kafka, "settings", secured)
        child = Child(kafka.program(folder, ports), folder, spawner)
        try:
            child.start()
            child.wait_ready()
            inside, password = f"127.0.0.1:{ports.kafka}", secrets.token_hex(16)
            topics.create(inside)
            fill(inside, "sandbox", all_topics=True)
            grant = of("java", classes)("Grant", inside, "his", password, WRITES, READS)
            code, _, err = asyncio.run(run(grant, environment(), folder))
            assert code == 0, err
            properties = folder / "client.properties"
            text = (KIT / "java" / "client.properties").read_text("utf-8")
            text = text.replace("CHANGE-ME", password).replace("/etc/lianxin/ca.pem", str(ca))
            properties.write_text(text, "utf-8")
            yield Installation(inside, f"127.0.0.1:{port}", password, ca, properties)
        finally:
            child.stop()


@pytest.fixture(params=["java", "python"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def produce(
    at: Installation, classes: Path, language: str, topic: str, body: Path
) -> tuple[int, str, str]:
    command = of(language, classes)(
        "Producer", topic, f"{body.parent.name}", "h1", "p-200870", str(body)
    )
    return await run(command, at.of(language), at.ca.parent)


async def test_it_may_write_what_it_is_the_source_of_and_nothing_else(
    installation: Installation, classes: Path, language: str
) -> None:
    code, out, err = await produce(installation, classes, language, WRITES, DISCHARGE)
    assert (code, out.split()[0]) == (0, WRITES), err
    code, out, err = await produce(installation, classes, language, "enrollment.events", ISSUED)
    assert (code == 0, out) == (False, "")
    assert "TopicAuthorization" in err


async def test_it_may_read_what_it_was_granted_in_groups_of_its_own_name(
    installation: Installation, classes: Path, language: str
) -> None:
    env, cwd = installation.of(language), installation.ca.parent
    consumer = of(language, classes)
    command = consumer("Consumer", f"his.{language}", "enrollment.events")
    assert await first_line(command, env, cwd, " sandbox ")
    code, out, err = await run(consumer("Consumer", "lis.x", "enrollment.events"), env, cwd)
    assert (code == 0, out) == (False, "")
    assert "GroupAuthorization" in err
    code, out, err = await run(consumer("Consumer", "his.x", "notify.requests"), env, cwd)
    assert (code == 0, out) == (False, "")
    assert "TopicAuthorization" in err


def judged(env: Mapping[str, str], at: Installation, topic: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return conformance.main([topic, "--bootstrap", at.outside])


def test_with_it_one_may_judge_what_one_wrote(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    env = installation.of("python")
    assert judged(env, installation, WRITES) == 0
    assert "0 of them wrong" in capsys.readouterr().out
    assert judged(env, installation, "notify.requests") == 2
    assert "no right to read it" in capsys.readouterr().err
    assert judged(installation.of("python", "wrong"), installation, WRITES) == 2
    said = capsys.readouterr().err
    assert "can't be read" in said and "KAFKA_ variables" in said
