"""How does a service of ours run in a container over the tests' stack?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.common.dev_issuer import JWKS_FILE
from libs.common.devstack.places import free_ports
from libs.common.devstack.probe import http_answers
from libs.common.devstack.stack import Stack
from tests.support import podman

#: Where a container finds the issuer's public keys, and those that seal personal data.
KEYS = "/etc/lianxin"
#: Seconds; a busy machine starts all services at once.
START = 60


@dataclass(frozen=True)
class Service:
    name: str
    container: podman.Container
    url: str

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START
        while not http_answers(f"{self.url}/readyz"):
            assert self.container.running(), f"{self.name} ended:\n{self.container.logs()}"
            assert time.monotonic() < deadline, f"{self.name}:\n{self.container.logs()}"
            time.sleep(0.2)


@dataclass(frozen=True)
class Hosted:
    """``start`` gives one service, as an installation starts it: nothing but a setting tells
    it where it is."""

    stack: Stack
    image: Callable[[str], str]
    keys: Path

    def environment(self) -> dict[str, str]:
        told = self.stack.service_environment()
        own = {
            "OIDC_JWKS_URL": f"file://{KEYS}/{JWKS_FILE}",
            "CIPHER_KEYS_DIR": f"{KEYS}/cipher",
            "SIGNING_KEYS_DIR": "/tmp/signing-keys",
        }
        ours = ("POLICIES_DIR", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")  # the image's own
        return {**{k: v for k, v in told.items() if k not in ours}, **own}

    def options(self) -> tuple[str, ...]:
        return (*podman.RESTRICTED, podman.ON_THIS_MACHINE, f"--volume={self.keys}:{KEYS}:ro")

    def migrate(self, name: str) -> str:
        """As the Job of an installation does it."""
        return podman.run(
            self.image(name),
            *("-m", "libs.common.migrate", name),
            environment=self.environment(),
            options=(*self.options(), "--entrypoint=python"),
        )

    @contextmanager
    def start(self, name: str) -> Iterator[Service]:
        """Started, not yet ready."""
        port, mllp = free_ports(2)
        told = {**self.environment(), "HTTP_PORT": str(port), "MLLP_PORT": str(mllp)}
        image = self.image(name)
        with podman.container(image, environment=told, options=self.options()) as running:
            yield Service(name, running, f"http://127.0.0.1:{port}")
