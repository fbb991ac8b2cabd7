"""Where do the parts live on this machine: folders, ports, programs?"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.common.devstack.errors import StackError, port_is_free

ROOT = Path(__file__).resolve().parents[3]
KAFKA_LOCK = ROOT / "requirements" / "kafka.txt"
STACK_VENV = ROOT / ".stack"

SERVICES = {
    "enrollment": 8001,
    "messaging": 8002,
    "reports": 8003,
    "prescriptions": 8004,
    "notify": 8005,
    "interop": 8006,
}
PAGE = 8000
#: Where the page catches e-mail.
PAGE_SMTP = 8025
#: Where interop takes HL7 v2.
MLLP = 2575


def cache() -> Path:
    """What several clones share: jars, the installer."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LIANXIN_CACHE") or Path(base) / "lianxin")


def jars(lock: Path = KAFKA_LOCK) -> list[Path]:
    """Kafka's class path, in the layout of a Maven repository; the files may be missing."""
    found = []
    for line in lock.read_text().splitlines():
        if line and not line.startswith("#"):
            group, artifact, version = line.split()[0].split(":")
            folder = Path(*group.split("."), artifact, version)
            found.append(cache() / "maven" / folder / f"{artifact}-{version}.jar")
    return found


def stack_program(name: str) -> Path:
    """A program out of the venv of the broker and the database."""
    program = STACK_VENV / "bin" / name
    if not program.exists():
        raise StackError(f"{program} is missing: run `make setup`.")
    return program


def stack_package(name: str) -> Path | None:
    """The folder of an installed package of that venv, without importing it."""
    return next(STACK_VENV.glob(f"lib/python*/site-packages/{name}"), None)


@dataclass(frozen=True, slots=True)
class Ports:
    kafka: int
    controller: int
    mongo: int
    page: int
    smtp: int
    mllp: int
    services: Mapping[str, int]

    @staticmethod
    def fixed(environ: Mapping[str, str] | None = None) -> Ports:
        """The well-known ports; each can be moved by a variable such as ``KAFKA_PORT``."""
        given = os.environ if environ is None else environ

        def port(name: str, usual: int) -> int:
            text = given.get(f"{name.upper()}_PORT", str(usual))
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise StackError(f"{name.upper()}_PORT is {text!r}: give a number below 65536.")
            return int(text)

        return Ports(
            kafka=port("kafka", 9092),
            controller=port("kafka_controller", 9093),
            mongo=port("mongo", 27017),
            page=port("page", PAGE),
            smtp=port("page_smtp", PAGE_SMTP),
            mllp=port("mllp", MLLP),
            services={name: port(name, usual) for name, usual in SERVICES.items()},
        )

    @staticmethod
    def free() -> Ports:
        """Ports that nobody uses now, for tests."""
        kafka, controller, mongo, page, smtp, mllp, *services = free_ports(6 + len(SERVICES))
        by_name = dict(zip(SERVICES, services, strict=True))
        return Ports(kafka, controller, mongo, page, smtp, mllp, by_name)


def free_ports(count: int) -> list[int]:
    """Ports below the range of outgoing connections: while a killed server's port is free, a
    client that reconnects to it could else be given the very same port and meet itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        if port not in found and port_is_free(port):
            found.append(port)
    return found
