"""How does a test drive podman: as root, pulling nothing, leaving nothing running?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from libs.common.devstack.places import ROOT

#: What podman needs on a machine without systemd; put it into the environment of every call.
ENVIRONMENT = {"CONTAINERS_CONF": str(ROOT / "deploy/images/containers.conf")}
#: As an installation starts ours (Pod Security ``restricted``): nothing of the image can be
#: written, no capability, no way to more rights. The user is the image's own.
RESTRICTED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,noexec,nosuid,nodev"),
    *("--cap-drop=all", "--security-opt=no-new-privileges"),
)
#: The machine's own network: the stack listens at its loopback address alone.
ON_THIS_MACHINE = "--network=host"


def podman(*command: str, timeout: float = 120, given: bytes | None = None) -> str:
    """Run ``podman …``; what it prints. If it fails, its own words are the failure."""
    done = subprocess.run(
        ["podman", *command],
        input=given,
        capture_output=True,
        timeout=timeout,
        env={**os.environ, **ENVIRONMENT},
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        told = done.stderr.decode(errors="replace")
        raise AssertionError(f"podman {' '.join(command)}: {done.returncode}\n{said}{told}")
    return said


def exists(image: str) -> bool:
    """Asked for by its name: the list of all fails while one is broken, as after a kill."""
    command = ["podman", "image", "exists", image]
    return subprocess.run(command, env={**os.environ, **ENVIRONMENT}, check=False).returncode == 0


@dataclass(frozen=True)
class Container:
    """One that was started; it may have ended."""

    name: str

    def logs(self) -> str:
        done = subprocess.run(
            ["podman", "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            check=False,
        )
        return done.stdout.decode(errors="replace")

    def running(self) -> bool:
        return podman("inspect", "--format={{.State.Running}}", self.name).strip() == "true"

    def kill(self, sig: signal.Signals) -> None:
        podman("kill", f"--signal={sig.name}", self.name)

    def exit_code(self, seconds: float) -> int:
        """Wait until it has ended."""
        deadline = time.monotonic() + seconds
        while self.running():
            assert time.monotonic() < deadline, f"{self.name} still runs\n{self.logs()}"
            time.sleep(0.1)
        return int(podman("inspect", "--format={{.State.ExitCode}}", self.name))


@contextmanager
def container(
    image: str,
    *command: str,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (*RESTRICTED, ON_THIS_MACHINE),
) -> Iterator[Container]:
    """Start ``image`` in the background; removed on leaving, whatever became of it."""
    name = f"lianxin-test-{uuid.uuid4().hex[:12]}"
    told = [f"--env={key}={value}" for key, value in (environment or {}).items()]
    try:
        podman(
            "run", "--detach", "--pull=never", f"--name={name}", *options, *told, image, *command
        )
        yield Container(name)
    finally:
        podman("rm", "--force", "--ignore", "--time=0", "--volumes", name)


def run(
    image: str,
    *command: str,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (*RESTRICTED, ON_THIS_MACHINE),
) -> str:
    """Run ``image`` to its end; what it printed."""
    told = [f"--env={key}={value}" for key, value in (environment or {}).items()]
    return podman("run", "--rm", "--pull=never", *options, *told, image, *command)
