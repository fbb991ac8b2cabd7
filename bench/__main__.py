"""What does what we promise cost? (``make bench``; the figures go to docs/performance.md)

``cost``: CPU for each event, case by case (bench/cases.py). ``latency``: what a hop adds to
the raw loop (bench/latency.py). ``push``: from a report to its push (bench/push.py).
``http``: the group commit against a transaction each (bench/http_commands.py). ``mllp``: HL7 v2
from its frame to its acknowledgement (bench/mllp.py). ``renewals``: from the asking to both
signatures (bench/renewals.py). ``lists``: work lists with many renewals stored
(bench/work_lists.py). ``footprint``: what an event of a
hospital costs in all services and stores (bench/footprint.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench import footprint, http_commands, latency, mllp, push, renewals, work_lists
from bench.cases import CASES, TOPICS
from bench.rounds import Goal, rotated, table
from bench.world import prefill
from libs.common.devstack.stack import Stack

#: part -> what measures it, given a stack and the number of rounds
TIMED: Mapping[str, Callable[[Stack, int], Coroutine[Any, Any, None]]] = {
    "latency": latency.compare,
    "push": push.measure,
    "http": http_commands.compare,
    "mllp": mllp.compare,
    "renewals": renewals.compare,
    "lists": work_lists.compare,
    "footprint": footprint.measure,
}
PARTS = ("cost", *TIMED)
#: Set anew after the first runs on Apache Kafka; docs/performance.md says why.
GOALS = (
    Goal("ours", "raw-bulk-write", "<=", 3.0, 3.5),
    Goal("ours", "raw", "<=", 4.0, 4.5),
    Goal("faststream-each", "ours", ">=", 30.0, 15.0),
    Goal("ours", "faststream-batch", "<=", 1.4, 1.6),
    Goal("ours-traced-10", "ours", "<=", 1.2, 1.2),
    Goal("ours-traced-100", "ours", "<=", 2.0, 2.0),
)


@contextmanager
def collector() -> Iterator[str]:
    """The address of a process that takes spans; fails if it has got none in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.otlp_sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        said, _ = process.communicate(timeout=10)
        print(f"spans: {int(said) / 1e6:.1f} MB exported")


def run(case: str, stack: Stack, otlp: str) -> float:
    """Microseconds of CPU for each event."""
    command = [
        *(sys.executable, "-m", "bench.cases", case, "--otlp", otlp),
        *("--bootstrap", stack.bootstrap, "--mongo", stack.mongo_url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


def cost(stack: Stack, rounds: int, cases: Sequence[str]) -> None:
    results: dict[str, list[float]] = defaultdict(list)
    for topic, sampled_every in TOPICS.items():
        asyncio.run(prefill(stack.bootstrap, topic, sampled_every))
    with collector() as otlp:
        for n in range(rounds):
            for case in rotated(cases, n):
                results[case].append(run(case, stack, otlp))
            said = "  ".join(f"{case} {results[case][-1]:.0f}" for case in cases)
            print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: {said}", flush=True)
    print()
    print("\n".join(table({case: results[case] for case in cases}, GOALS)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    arguments = parser.parse_args()
    parts, rounds = arguments.parts.split(","), arguments.rounds
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for part in parts:
        # Each with a broker and a database of its own: what one part has written, the
        # database is still putting away while the next one is timed.
        with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
            if part == "cost":
                cost(stack, rounds, arguments.cases.split(","))
            else:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(TIMED[part](stack, rounds))


if __name__ == "__main__":
    main()
