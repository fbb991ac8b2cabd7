"""Which installation does a command look at, and as whom?

The environment says so, by the same variables as for the services (docs/settings.md); one user of
Kafka's and one of the database's see all services. With neither KAFKA_BOOTSTRAP_SERVERS nor
MONGO_URL it is the platform that ``make run`` has started on this machine.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from lianxin.output import Failed, wrong_settings
from libs.common import topic_registry
from libs.common.broker import Broker
from libs.common.clock import Ports
from libs.common.dev_issuer import PATH
from libs.common.kafka.admin import Kafka
from libs.common.mongo.database import Database
from libs.common.runtime import ServiceSpec
from libs.common.settings import Settings

SERVICES: Final = ("enrollment", "messaging", "reports", "prescriptions", "notify", "interop")
_HTTP_PORTS: Final = {name: 8001 + n for n, name in enumerate(SERVICES)}
_ROOT: Final = Path(__file__).resolve().parents[1]


class CommandSettings(Settings):
    """What a command needs besides; ``{service}`` stands for a service's name."""

    lianxin_group: str = Field("lianxin.{service}", description="consumer groups' names")
    lianxin_database: str = Field("lianxin_{service}", description="databases' names")
    lianxin_url: str = Field(
        "http://{service}:{port}",
        description="where a service answers, each address of the host by itself; empty: not asked",
    )
    lianxin_trace_url: str = Field(
        "", description="where a trace is shown, as https://grafana.example/…{trace}"
    )


class Installation:
    """One installation: what there is, by which names, and how it is reached."""

    def __init__(self, settings: CommandSettings, ports: Ports | None = None) -> None:
        self.settings = settings
        self.ports = ports or Ports()
        self._databases: dict[str, Database] = {}

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] | None = None) -> Installation:
        """Raises :class:`Failed` that names the setting."""
        given = os.environ if environ is None else environ
        try:
            if not {"KAFKA_BOOTSTRAP_SERVERS", "MONGO_URL"} & given.keys():
                return cls(CommandSettings(**_on_this_machine(given)))
            return cls(CommandSettings())
        except ValidationError as error:
            raise wrong_settings(error) from None

    @property
    def broker(self) -> Broker:
        return self.settings.broker

    @cached_property
    def topics(self) -> Mapping[str, topic_registry.Topic]:
        """The registry's topics, by name."""
        return topic_registry.read(_ROOT / topic_registry.FOLDER)

    def service(self, name: str) -> str:
        """``name``, if it is a service's."""
        if name not in SERVICES:
            raise Failed(f"There is no service {name!r}; there are {', '.join(SERVICES)}.")
        return name

    def spec(self, service: str) -> ServiceSpec:
        """What the service is made of: its handlers, topics, collections."""
        found: ServiceSpec = importlib.import_module(f"services.{self.service(service)}.main").SPEC
        return found

    def group(self, service: str) -> str:
        return self.settings.lianxin_group.format(service=service)

    def url(self, service: str) -> str | None:
        """Where its HTTP API is, if that is known."""
        at = self.settings.lianxin_url
        return at.format(service=service, port=self._port(service)) if at else None

    async def replicas(self, service: str) -> list[str]:
        """The same of each replica: one for each address that the name of the host has. One alone
        where that is a name for all of them (a Service with an address of its own, TLS)."""
        at = self.url(service)
        if at is None:
            return []
        parts = urlsplit(at)
        if parts.scheme != "http" or parts.hostname is None:
            return [at]
        port = f":{parts.port}" if parts.port else ""
        found = await addresses(parts.hostname)
        return [f"http://{a}{port}{parts.path}" for a in found] if len(found) > 1 else [at]

    def _port(self, service: str) -> int:
        return int(os.environ.get(f"{service.upper()}_PORT", _HTTP_PORTS[service]))

    def trace_url(self, trace_id: str) -> str | None:
        at = self.settings.lianxin_trace_url
        return at.format(trace=trace_id) if at else None

    def database(self, service: str) -> Database:
        """The service's database; closed with :meth:`open`."""
        if service not in self._databases:
            self._databases[service] = Database(
                self.settings.mongo_url,
                self.settings.lianxin_database.format(service=self.service(service)),
                credentials=self.settings.mongo_credentials,
            )
        return self._databases[service]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Kafka]:
        """Kafka, as far as it is used; on leaving all connections end."""
        kafka = Kafka(self.broker)
        try:
            yield kafka
        finally:
            await kafka.close()
            databases, self._databases = self._databases, {}
            for database in databases.values():
                await database.close()


async def addresses(host: str) -> list[str]:
    """Those of one family, as URLs have them; none if it has no name service."""
    loop = asyncio.get_running_loop()
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            found = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
            v6 = family == socket.AF_INET6
            return sorted({f"[{a[0]}]" if v6 else str(a[0]) for *_, a in found})
    return []


def _on_this_machine(environ: Mapping[str, str]) -> dict[str, Any]:
    """What ``make run`` tells its services, with the ports that its variables move."""
    from libs.common.devstack.errors import StackError
    from libs.common.devstack.places import Ports as MachinePorts

    try:
        ports = MachinePorts.fixed(environ)
    except StackError as error:
        raise Failed(str(error)) from None
    keys = Path(environ.get("DATA_DIR", ".data")) / "cipher-keys"
    return {
        "environment": "development",
        **({"cipher_keys_dir": keys} if keys.is_dir() else {}),
        "kafka_bootstrap_servers": f"127.0.0.1:{ports.kafka}",
        "mongo_url": f"mongodb://127.0.0.1:{ports.mongo}/?replicaSet=secantus",
        "oidc_issuer": f"http://127.0.0.1:{ports.page}{PATH}",
        "lianxin_url": "http://127.0.0.1:{port}",
        "lianxin_trace_url": f"http://127.0.0.1:{ports.page}/traces/{{trace}}",
    }
