"""How does everything that the platform needs come up on one machine, and go down again?

Each part is found (``KAFKA_BOOTSTRAP_SERVERS``, ``MONGO_URL``) or started as a child
process. A test uses it as a fixture::

    with Stack(folder) as stack:
        stack.bootstrap, stack.mongo_url
        stack.start_service("enrollment")
        stack.kill("kafka"); stack.restart("kafka")
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack import containers, database, external, kafka, services, tansu, topics
from libs.common.devstack.child import Child, Program, sweep
from libs.common.devstack.errors import StackError, require_disk, require_port
from libs.common.devstack.lock import FolderLock
from libs.common.devstack.part import READY, Part, Said, Tell
from libs.common.devstack.places import SERVICES, Ports
from libs.common.devstack.watch import Watch
from libs.common.envelope import Envelope, KeyFolder
from libs.common.mongo.database import Database

LEFT_BEHIND = Said(
    "left behind by a launcher that was killed; stopped now",
    "上次启动器被强行终止后残留的进程，已停止",
)


class Stack:
    """The broker, the database and whatever else is started over them.

    ``folder`` keeps data, logs and pid files. Without ``ports`` free ones are taken.
    ``tell`` hears what happens; with ``supervise`` a child that dies is restarted. Only
    with ``look_only`` may the stand-in for Kafka be used, which promises nothing.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports | None = None,
        *,
        tell: Tell = lambda part, said: None,
        supervise: bool = False,
        look_only: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.ports = ports or Ports.free()
        self.parts: dict[str, Part] = {}
        self.bootstrap = ""
        self.mongo_url = ""
        #: Added to what every service gets; may be changed before a service is started.
        self.environment = dict(environment or {})
        self._tell = tell
        self._look_only = look_only
        self._spawner = ThreadPoolExecutor(1, "devstack-spawner")
        self._lock = FolderLock(self.folder)
        self._watch = Watch(self.parts, tell) if supervise else None

    # -- up and down

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Broker and database up and talking, topics created."""
        require_disk(self.folder)
        self._lock.take()
        for name in sweep(self.folder):
            self._tell(name, LEFT_BEHIND)
        broker, store = self._broker(), self._database()
        for part in (broker, store):
            if part is not None:
                self._add(part).start()
        for part in (broker, store):
            if part is not None:
                part.wait_ready()
                self._tell(part.name, READY)
        topics.create(self.bootstrap)
        if self._watch:
            self._watch.start()

    def stop(self) -> None:
        """Everything down, the youngest first; services together."""
        if self._watch:
            self._watch.stop()
        parts = list(reversed(self.parts.values()))
        basis = [p for p in parts if p.name in ("kafka", "mongo")]
        above = [p for p in parts if p not in basis]
        for group in (above, basis):
            for part in group:
                part.ask_to_stop()
            with contextlib.ExitStack() as each:  # all of them, whatever one of them raises
                for part in reversed(group):
                    each.callback(part.stop)
        self.parts.clear()
        self._spawner.shutdown()
        self._lock.give()

    # -- the parts

    def _broker(self) -> Part | None:
        if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
            external.require_kafka(given)
            self.bootstrap = given
            return None
        require_port("Kafka", self.ports.kafka, "KAFKA_PORT")
        require_port("Kafka's controller", self.ports.controller, "KAFKA_CONTROLLER_PORT")
        self.bootstrap = f"127.0.0.1:{self.ports.kafka}"
        if os.environ.get("STACK") == "containers":
            return containers.kafka(self.ports)
        if self._look_only and kafka.missing_jars():
            self._tell("kafka", tansu.WARNING)
            self.environment["KAFKA_IDEMPOTENCE"] = "off"
            return self._child(tansu.program(self.ports))
        return self._child(kafka.program(self.folder, self.ports))

    def _database(self) -> Part | None:
        if given := os.environ.get("MONGO_URL"):
            external.require_mongo(given)
            self.mongo_url = given
            return None
        require_port("the database", self.ports.mongo, "MONGO_PORT")
        if os.environ.get("STACK") == "containers":
            self.mongo_url = containers.mongo_url(self.ports.mongo)
            return containers.mongo(self.ports)
        self.mongo_url = database.url(self.ports.mongo)
        return self._child(database.program(self.folder, self.ports))

    def _child(self, program: Program) -> Child:
        return Child(program, self.folder, self._spawner)

    def _add(self, part: Part) -> Part:
        if part.name in self.parts:
            raise StackError(f"{part.name} runs already.")
        self.parts[part.name] = part
        return part

    def start_program(self, program: Program, *, wait: bool = True) -> Child:
        """Start any other program as a part of this stack."""
        child = self._child(program)
        self._add(child).start()
        if wait:
            self.wait_ready(child.name)
        return child

    def service_environment(self) -> dict[str, str]:
        """What every service gets, and ``environment`` on top."""
        usual = services.environment(self.folder, self.ports, self.bootstrap, self.mongo_url)
        return {**usual, **self.environment}

    def start_page(self, *, wait: bool = True) -> Child:
        """The page that shows it all; what is started later sends its spans and mail there."""
        require_port("the page", self.ports.page, "PAGE_PORT")
        require_port("the page's mail server", self.ports.smtp, "PAGE_SMTP_PORT")
        self.environment |= services.page_endpoints(self.ports)
        told = self.service_environment()
        return self.start_program(services.page(self.folder, self.ports, told), wait=wait)

    def start_services(self, *names: str) -> None:
        """Collections, then all of them at once (all of them if none is named)."""
        wanted = names or tuple(SERVICES)
        self.migrate(*wanted)
        for name in wanted:
            self.start_service(name, wait=False)
        self.wait_ready(*wanted)

    def migrate(self, *names: str, environment: Mapping[str, str] | None = None) -> None:
        """Make the collections and indexes of these services; needed once for a database.

        With a consumer group of its own (``KAFKA_GROUP``) also the topics of that.
        """
        told = {**self.service_environment(), **(environment or {})}
        if group := told.get("KAFKA_GROUP"):
            topics.create(self.bootstrap, topics.own(group))
        services.migrate(names, told, self.folder / "logs" / "migrate.log")

    def start_service(
        self,
        name: str,
        *,
        replica: int = 1,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Child:
        """Start ``services.<name>.main``; from the second replica on it is ``<name>-2`` …

        A replica gets a free port unless it is told one; ``service_url`` names it. Its
        collections must have been made (``migrate``).
        """
        self.issuer()  # its public key must be there before the service looks for it
        told = {**self.service_environment(), **(environment or {})}
        program = services.program(name, self.ports, told, replica, port)
        require_port(program.name, int(program.env["HTTP_PORT"]), f"{name.upper()}_PORT")
        if mllp := program.env.get("MLLP_PORT"):
            require_port(f"{program.name}, for HL7,", int(mllp), "MLLP_PORT")
        return self.start_program(program, wait=wait)

    def database(self, name: str) -> Database:
        """A database as the services over this stack see it: what they seal opens."""
        keys = KeyFolder(Path(self.service_environment()["CIPHER_KEYS_DIR"]))
        return Database(self.mongo_url, name, cipher=Envelope(keys))

    def issuer(self) -> DevelopmentIssuer:
        """Signs the tokens that these services accept."""
        told = self.service_environment()
        return DevelopmentIssuer.at(
            services.issuer_folder(self.folder),
            issuer=told["OIDC_ISSUER"],
            audience=told["OIDC_AUDIENCE"],
        )

    def service_url(self, name: str) -> str:
        """The base URL of a running service, or of a replica of it (``enrollment-2``)."""
        part = self._part(name)
        if not isinstance(part, Child):
            raise StackError(f"{name} is not a service.")
        return f"http://127.0.0.1:{part.program.env['HTTP_PORT']}"

    def wait_ready(self, *names: str) -> None:
        for name in names:
            self._part(name).wait_ready()
            self._tell(name, READY)

    # -- for failure tests

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL, *, wait: bool = True) -> None:
        """Send ``sig`` to a part and, by default, wait until it is gone."""
        part = self._part(name)
        part.kill(sig)
        if wait and not part.wait(30):
            raise StackError(f"{name} did not end on {sig.name}.")

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Stop a part if it runs and start it again, on its old port and data."""
        part = self._part(name)
        part.stop()
        part.start()
        if wait:
            part.wait_ready()

    def remove(self, name: str) -> None:
        """Stop a part for good, such as a replica."""
        self._part(name).stop()
        del self.parts[name]

    def _part(self, name: str) -> Part:
        if name not in self.parts:
            raise StackError(f"{name} is no part of this stack; there are {', '.join(self.parts)}.")
        return self.parts[name]
