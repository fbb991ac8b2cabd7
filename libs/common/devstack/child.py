"""How is one program of the stack started, watched and stopped so that nothing is left behind?"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from libs.common.devstack.errors import StackError

EXEC_CHILD = Path(__file__).with_name("exec_child.py")
POLL_SECONDS = 0.05
SWEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: its command, what is added to the environment, and how it says "ready".

    ``ready`` talks to the program and answers whether it serves; ``advice`` ends the
    sentence that a person reads when it never does.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 25.0
    advice: str = ""


class Child:
    """One running program: a process group of its own, a log file and a pid file."""

    def __init__(self, program: Program, folder: Path, spawner: ThreadPoolExecutor) -> None:
        self.program = program
        self.log = folder / "logs" / f"{program.name}.log"
        self._pid_file = folder / "pids" / program.name
        self._spawner = spawner
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = False

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int:
        if self._process is None:
            raise StackError(f"{self.name} has not been started.")
        return self._process.pid

    def start(self) -> None:
        """Start it; ``wait_ready`` says when it serves."""
        for file in (self.log, self._pid_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # Linux binds "dies with its parent" to the parent *thread*: one thread, which
            # lives as long as the stack, starts them all.
            self._process = self._spawner.submit(self._popen, log).result()
        self.wanted = True
        self._pid_file.write_text(f"{self._process.pid} {_started_at(self._process.pid)}")

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        program = self.program
        return subprocess.Popen(
            [sys.executable, "-I", str(EXEC_CHILD), str(os.getpid()), *program.argv],
            env={**os.environ, **program.env},
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal reaches the launcher only
        )

    def exit_code(self) -> int | None:
        """None while it runs, or if it was never started."""
        return self._process.poll() if self._process else None

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        return self.program.ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + self.program.start_seconds
        while not self.ready():
            if not self.running():
                raise StackError(
                    f"{self.name} ended with code {self.exit_code()} while starting"
                    f"{self._last_words()}: its log is {self.log}. {self.program.advice}".rstrip()
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} did not answer within {self.program.start_seconds:.0f} s: "
                    f"its log is {self.log}. {self.program.advice}".rstrip()
                )
            time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        told = [line.strip() for line in lines[-200:] if line.strip()]
        notable = [t for t in told if "ERROR" in t or "Error" in t or "Exception" in t] or told
        return f" (“{notable[-1][:200]}”)" if notable else ""

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send ``sig`` to the program alone, as a failure test does."""
        with contextlib.suppress(ProcessLookupError):  # it may end in between
            if self.running():
                os.kill(self.pid, sig)

    def wait(self, seconds: float) -> bool:
        """True if it has ended within ``seconds``."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM; nobody restarts it from now on."""
        self.wanted = False
        self.kill(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM, wait, SIGKILL; then whatever is left of its process group."""
        self.ask_to_stop()
        if self._process is None:
            return
        if not self.wait(self.program.stop_seconds):
            self.kill(signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)


def _started_at(pid: int) -> str:
    """What tells a process from a later one with the same pid; empty if it is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else rest[18]  # field 22: start time in ticks since boot
    except OSError:
        if platform.system() == "Linux":
            return ""
    listing = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.strip()


def sweep(folder: Path) -> list[str]:
    """Kill what an earlier launcher left behind in ``folder``; the names of what was found."""
    found = []
    for file in sorted((folder / "pids").glob("*")):
        pid, _, started = file.read_text().partition(" ")
        if pid.isdigit() and started and _started_at(int(pid)) == started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(pid), signal.SIGKILL)
                found.append(file.name)
            deadline = time.monotonic() + SWEEP_SECONDS
            while _started_at(int(pid)) == started and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)  # its port and its file locks are free once it is gone
        file.unlink()
    return found
