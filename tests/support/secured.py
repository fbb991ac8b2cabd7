"""A broker and a database that let in only whom they know, as an installation has them."""

from __future__ import annotations

import ipaddress
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymongo
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.common.broker import Broker
from libs.common.devstack import database, kafka
from libs.common.devstack.child import Child
from libs.common.devstack.places import ROOT, Ports, free_ports
from libs.common.kafka.rights import Operation, Right
from tests.integration.kit.programs import environment, of

USERS = ROOT / "deploy/k8s/components/kafka/users.yaml"


def certificate(folder: Path, lasts: timedelta = timedelta(days=1)) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that is its own authority; and it with its key."""
    folder.mkdir(exist_ok=True)
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
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + lasts)
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


@dataclass(frozen=True)
class SecuredBroker:
    """TLS, SCRAM and ACLs ``outside``; ``inside`` is the operators' own port."""

    inside: str
    outside: str
    ca: Path


@contextmanager
def broker(folder: Path) -> Iterator[SecuredBroker]:
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

    with pytest.MonkeyPatch.context() as patch:  # this one's alone: others start beside it
        patch.setattr(kafka, "settings", secured)
        program = kafka.program(folder, ports)
    with ThreadPoolExecutor(1) as spawner:
        child = Child(program, folder, spawner)
        try:
            child.start()
            child.wait_ready()
            yield SecuredBroker(f"127.0.0.1:{ports.kafka}", f"127.0.0.1:{port}", ca)
        finally:
            child.stop()


def grant(
    at: SecuredBroker, classes: Path, users: Mapping[str, Iterable[Right]]
) -> dict[str, Broker]:
    """Make ``users``, who may do just that; how each of them reaches the broker."""
    passwords = {name: secrets.token_hex(16) for name in users}
    words: list[str] = []
    for name, rights in users.items():
        words.append(f"USER {name} {passwords[name]}")
        for r in rights:
            pattern = "PREFIXED" if r.prefixed else "LITERAL"
            words.append(f"{r.kind.upper()} {pattern} {OPERATIONS[r.operation]} {r.name}".rstrip())
    done = subprocess.run(
        of("java", classes)("Grant", at.inside, *words),
        env=environment(), cwd=at.ca.parent, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {
        name: Broker(at.outside, "SASL_SSL", ca=at.ca, username=name, password=password)
        for name, password in passwords.items()
    }


#: As Kafka's own clients name them.
OPERATIONS: Mapping[Operation, str] = {
    "Read": "READ",
    "Write": "WRITE",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
}


def rendered(name: str, file: Path = USERS) -> list[Right]:
    """The rights of a KafkaUser, as it stands there."""
    (user,) = [u for u in yaml.safe_load_all(file.read_text()) if u["metadata"]["name"] == name]
    return [
        Right(
            acl["resource"]["type"],
            acl["resource"].get("name", ""),
            operation,
            acl["resource"].get("patternType") == "prefix",
        )
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    ]


@dataclass(frozen=True)
class SecuredDatabase:
    """TLS and SCRAM-SHA-256."""

    url: str
    ca: Path
    username: str
    password: str


@contextmanager
def mongo(folder: Path) -> Iterator[SecuredDatabase]:
    ca, both = certificate(folder)
    ports, username, password = Ports.free(), "lianxin", secrets.token_hex(16)
    open_ = database.program(folder, ports)
    tls = ("--auth", "--tls-cert-file", str(ca), "--tls-key-file", str(both))
    shut = replace(open_, argv=[*open_.argv, *tls], ready=lambda: _answers(ports.mongo, ca))
    url = database.url(ports.mongo)
    with ThreadPoolExecutor(1) as spawner:
        child = Child(open_, folder, spawner)
        try:
            child.start()
            child.wait_ready()
            with pymongo.MongoClient[dict[str, object]](url) as operators:
                role = {"role": "readWriteAnyDatabase", "db": "admin"}
                operators.admin.command("createUser", username, pwd=password, roles=[role])
            child.stop()
            child = Child(shut, folder, spawner)
            child.start()
            child.wait_ready()
            yield SecuredDatabase(url, ca, username, password)
        finally:
            child.stop()


def _answers(port: int, ca: Path) -> bool:
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    with pymongo.MongoClient[dict[str, object]](
        url, tls=True, tlsCAFile=str(ca), serverSelectionTimeoutMS=500
    ) as client:
        try:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except pymongo.errors.PyMongoError:
            return False
