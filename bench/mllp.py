"""What does an acknowledgement that can be relied on cost over MLLP?

So many connections send one discharge after the other, each waiting for its answer as
hospital systems do, to a server in a process of its own: interop whole, and those that do
less (bench/mllp_server.py). All have a broker and a database beside them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.latency import quantile
from bench.rounds import rotated, spread
from libs.common.devstack.mllp import END, VT
from libs.common.devstack.stack import Stack

CONNECTIONS = 16
SECONDS = 8.0
WARM = 2.0
CASES = ("hl7", "read", "floor", "interop")


def _message(id: str) -> bytes:
    at = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y%m%d%H%M%S%z")
    pv1 = "|".join(["I", "NEURO", *[""] * 15, f"e{id}", *[""] * 16, "01", *[""] * 8, at])
    segments = (
        f"MSH|^~\\&|HIS|BENCH|LIANXIN|LX|{at}||ADT^A03^ADT_A03|{id}|P|2.5.1||||||UNICODE UTF-8",
        f"EVN|A03|{at}",
        f"PID|1||p{id}^^^^PI||甲^乙||19600101|F|||示例路1号||^PRN^CP^^^^13800000001||zh",
        f"PV1||{pv1}",
        "DG1|1||I63.900x001^脑梗死^ICD10|||F",
        "DG1|2||I10.x00^高血压^ICD10|||F",
    )
    return VT + "".join(f"{s}\r" for s in segments).encode() + END


async def _load(port: int, pid: int) -> tuple[float, list[float], float]:
    """After the warm-up: messages a second, how many ms each waited for its answer, and how
    many µs the server computed for it."""
    begin = time.perf_counter() + WARM
    run = uuid.uuid4().hex[:6]
    took: list[float] = []
    before = 0.0

    async def one(name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        n = 0
        while time.perf_counter() < begin + SECONDS:
            n += 1
            message = _message(f"{run}-{name}-{n}")
            sent = time.perf_counter()
            writer.write(message)
            answer = await reader.readuntil(END)
            if b"|AA|" not in answer:
                raise RuntimeError(answer.decode())
            if sent >= begin:
                took.append((time.perf_counter() - sent) * 1e3)
        writer.close()

    async def note() -> None:
        nonlocal before
        await asyncio.sleep(WARM)
        before = _cpu(pid)

    await asyncio.gather(note(), *(one(str(i)) for i in range(CONNECTIONS)))
    return len(took) / SECONDS, took, (_cpu(pid) - before) / len(took) * 1e6


def _cpu(pid: int) -> float:
    """Seconds that a process has computed, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


@asynccontextmanager
async def _serving(stack: Stack, case: str) -> AsyncIterator[tuple[int, int]]:
    """Its port and its process."""
    if case == "interop":
        child = await asyncio.to_thread(stack.start_service, "interop")
        try:
            yield stack.ports.mllp, child.pid
        finally:
            await asyncio.to_thread(stack.remove, child.name)
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.mllp_server", case, "--mongo", stack.mongo_url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()


async def compare(stack: Stack, rounds: int) -> None:
    stack.environment["LOG_LEVEL"] = "INFO"  # a line for each message, as in production
    await asyncio.to_thread(stack.migrate, "interop")
    rates: dict[str, list[float]] = defaultdict(list)
    tails: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    for n in range(rounds):
        for case in rotated(CASES, n):
            async with _serving(stack, case) as (port, pid):
                rate, took, cost = await _load(port, pid)
            rates[case].append(rate)
            costs[case].append(cost)
            tails[case].append(quantile(took, 0.99))
        said = [
            f"{c} {rates[c][-1]:.0f}/s, p99 {tails[c][-1]:.0f} ms, {costs[c][-1]:.0f} µs"
            for c in CASES
        ]
        print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: " + "; ".join(said), flush=True)
    print(
        f"\n| {CONNECTIONS} connections | messages/s | p99 of the answer, ms "
        "| µs CPU a message | interop's rate |"
    )
    print("|---|---|---|---|---|")
    for case in CASES:
        ratios = [a / b for a, b in zip(rates["interop"], rates[case], strict=True)]
        print(
            f"| {case} | {spread(rates[case], 0)} | {spread(tails[case], 0)} "
            f"| {spread(costs[case], 0)} | {spread(ratios, 2)} x |"
        )
