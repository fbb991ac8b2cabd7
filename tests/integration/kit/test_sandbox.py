"""Does the sandbox hold every example, as sound records, and does it end when asked?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.stack import Stack
from scripts.conformance import judge
from scripts.contracts import CONTRACTS
from scripts.findings import Finding
from scripts.published import read
from scripts.sandbox import fill, main
from tests.support.examples import BODIES


def judged(bootstrap: str, begun: datetime) -> tuple[dict[str, int], list[Finding]]:
    """How many records each topic got since then, and what is wrong with them."""
    counts, wrong = {}, []
    for name, topic in read(CONTRACTS).topics.items():
        if topic.types:
            counts[name], found = asyncio.run(judge(bootstrap, topic, begun, 1000))
            wrong += [f for f in found if not f.hint]
    return counts, wrong


def test_every_example_is_a_sound_record(stack: Stack) -> None:
    begun = datetime.now(UTC)
    hospital = f"sandbox-{uuid.uuid4().hex[:8]}"
    assert fill(stack.bootstrap, hospital, all_topics=True) == len(BODIES)
    counts, wrong = judged(stack.bootstrap, begun)
    assert wrong == []
    assert sum(counts.values()) == len(BODIES)


def test_into_a_platform_it_writes_only_what_hospital_systems_write(stack: Stack) -> None:
    begun = datetime.now(UTC)
    hospital = f"sandbox-{uuid.uuid4().hex[:8]}"
    assert main(["--bootstrap", stack.bootstrap, "--hospital", hospital]) == 0
    counts, wrong = judged(stack.bootstrap, begun)
    assert wrong == []
    assert counts["hospital.encounters"] and counts["notify.requests"]
    assert not any(count for name, count in counts.items() if name.endswith(".events"))


def test_the_sandbox_comes_up_filled_and_goes_down(tmp_path: Path) -> None:
    port, controller = free_ports(2)
    environment = os.environ | {
        "KAFKA_PORT": str(port),
        "KAFKA_CONTROLLER_PORT": str(controller),
        "DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "scripts.sandbox"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert f"{len(BODIES)} events of the hospital sandbox on 127.0.0.1:{port}" in said
        counts, wrong = judged(f"127.0.0.1:{port}", datetime.fromtimestamp(0, UTC))
        assert (sum(counts.values()), wrong) == (len(BODIES), [])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert not list((tmp_path / "sandbox" / "pids").iterdir())
