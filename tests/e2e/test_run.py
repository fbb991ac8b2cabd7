"""Does ``make run`` come up, mend itself, stop on Ctrl-C, and go on from its data another time?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libs.common.devstack.places import ROOT, SERVICES, Ports
from libs.common.devstack.probe import http_answers

UP = "Ctrl-C stops all of it"


class Launcher:
    """``python -m libs.common.devstack <mode>`` over ``folder``, on ports of its own."""

    def __init__(self, mode: str, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.output = folder.parent / f"{mode}.txt"
        environment = {
            "DATA_DIR": str(folder),
            "KAFKA_PORT": str(ports.kafka),
            "KAFKA_CONTROLLER_PORT": str(ports.controller),
            "MONGO_PORT": str(ports.mongo),
            "PAGE_PORT": str(ports.page),
            "PAGE_SMTP_PORT": str(ports.smtp),
            "MLLP_PORT": str(ports.mllp),
            **{f"{name.upper()}_PORT": str(port) for name, port in ports.services.items()},
        }
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "libs.common.devstack", mode],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, f"it ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"it did not happen in time:\n{self.said()}"
            time.sleep(0.1)

    def pid(self, part: str) -> int:
        return int((self.folder / "pids" / part).read_text().split()[0])


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports.free()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "data"


@pytest.fixture
def running(folder: Path, ports: Ports) -> Iterator[Launcher]:
    launcher = Launcher("run", folder, ports)
    try:
        yield launcher
    finally:
        launcher.process.kill()
        launcher.process.wait()


@pytest.mark.timeout(300)
def test_the_platform_stays_up_mends_itself_and_stops_on_ctrl_c(
    running: Launcher, ports: Ports
) -> None:
    running.until(lambda: UP in running.said(), 200)
    assert f"http://127.0.0.1:{ports.page}" in running.said()
    assert all(http_answers(f"http://127.0.0.1:{ports.services[name]}/docs") for name in SERVICES)

    os.kill(running.pid("reports"), signal.SIGKILL)
    running.until(lambda: "reports        is back and answers" in running.said(), 60)
    assert "reports        died with code -9" in running.said()

    parts = [running.pid(part) for part in ("kafka", "mongo", "page", *SERVICES)]
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0
    assert [pid for pid in parts if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.timeout(200)
def test_another_day_over_the_same_data_ends_with_exit_code_0(folder: Path, ports: Ports) -> None:
    demo = Launcher("demo", folder, ports)
    try:
        assert demo.process.wait(180) == 0, demo.said()
    finally:
        demo.process.kill()
        demo.process.wait()
