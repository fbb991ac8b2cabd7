"""How do the cases compare? (``make bench``)

At least five rounds; in each round every case runs once, in rotated order, in a process
of its own. What counts are the ratios within a round, as medians with their spread: the
machine's speed drifts, and a ratio within one round drifts little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from libs.common.bus import Producer, TopicSpec, create_topics
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.stack import Stack
from tests.support.toy import Ticked, _Row

EVENTS = 10_000
FEW = 1_000  # for the case with a transaction an event
NAMES = 500
PAD = "x" * 860  # with its other fields an event's body has about 1 KB

#: case -> (sampling ratio, the prefilled topic's traceparents, events)
CASES: dict[str, tuple[float, str, int]] = {
    "raw": (-1, "plain", EVENTS),
    "raw-bulk-write": (-1, "plain", EVENTS),
    "ours": (-1, "plain", EVENTS),
    "ours-traced-10": (0.1, "traced10", EVENTS),
    "ours-traced-100": (1.0, "traced100", EVENTS),
    "faststream-batch": (-1, "plain", EVENTS),
    "faststream-each": (-1, "plain", FEW),
}
#: (case, to which, the goal, the line beyond which it failed)
GOALS = [
    ("ours", "raw-bulk-write", "<=", 1.5, 1.8),
    ("ours", "raw", "<=", 2.2, 2.6),
    ("faststream-each", "ours", ">=", 30.0, 15.0),
    ("ours", "faststream-batch", "<=", 1.0, 1.0),
    ("ours-traced-10", "ours", "<=", 1.2, 1.2),
    ("ours-traced-100", "ours", "<=", 2.0, 2.0),
]


async def prefill(bootstrap: str, topic: str, every: int) -> None:
    """``EVENTS`` events; each ``every``-th (0: none) says that it is sampled."""
    await create_topics(bootstrap, [TopicSpec(topic, 1, 1, {})])
    producer = Producer(bootstrap)
    await producer.start()
    now = datetime.now(UTC).replace(microsecond=0)
    rows = []
    for i in range(EVENTS):
        flag = "01" if every and i % every == 0 else "00"
        record = encode(
            CloudEvent(
                id=f"e{i}",
                source="/bench",
                type=Ticked.TYPE,
                subject=f"p{i % NAMES}",
                time=now,
                hospital="h1",
                data=Ticked(name=f"p{i % NAMES}", n=i, pad=PAD),
                sequence=i,
                traceparent=f"00-{i + 1:032x}-{i + 1:016x}-{flag}",
            )
        )
        rows.append(_Row(topic, record.key, record.value, record.headers))
    left: list[_Row] = rows
    while left:
        sent = {id(r) for r in await producer.send(left)}
        left = [r for r in left if id(r) not in sent]
    await producer.stop()


def run(case: str, stack: Stack) -> float:
    ratio, topic, events = CASES[case]
    command = [
        *(sys.executable, "-m", "bench.cases", case, "--bootstrap", stack.bootstrap),
        *("--mongo", stack.mongo_url, "--topic", f"bench.{topic}", "--events", str(events)),
        *("--ratio", str(ratio)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    arguments = parser.parse_args()
    cases = arguments.cases.split(",")
    results: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
        for topic, every in (("plain", 0), ("traced10", 10), ("traced100", 1)):
            asyncio.run(prefill(stack.bootstrap, f"bench.{topic}", every))
        for n in range(arguments.rounds):
            order = cases[n % len(cases) :] + cases[: n % len(cases)]
            for case in order:
                results[case].append(run(case, stack))
            line = "  ".join(f"{c} {results[c][-1]:.0f}" for c in cases)
            print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: {line}", flush=True)
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("\n| case | µs CPU an event: median (min–max) |\n|---|---|")
    for case in cases:
        v = results[case]
        print(f"| {case} | {statistics.median(v):.0f} ({min(v):.0f}–{max(v):.0f}) |")
    print("\n| ratio | median (min–max) | goal | line | |\n|---|---|---|---|---|")
    for case, base, sign, goal, limit in GOALS:
        if case in results and base in results:
            v = [a / b for a, b in zip(results[case], results[base], strict=True)]
            median = statistics.median(v)
            met = median <= goal if sign == "<=" else median >= goal
            held = median <= limit if sign == "<=" else median >= limit
            word = "met" if met else "within the line" if held else "FAILED"
            print(
                f"| {case} / {base} | {median:.2f} ({min(v):.2f}–{max(v):.2f}) "
                f"| {sign} {goal:g} | {limit:g} | {word} |"
            )


if __name__ == "__main__":
    main()
