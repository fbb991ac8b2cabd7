"""What does the group commit bring when many people act at once?

So many connections post one command after the other, each about a document of its own, to
a server that is a process of its own: once with the group commit, once with a transaction
for each command.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time

from bench.connection import Connection
from bench.latency import quantile
from libs.common.devstack.stack import Stack

CONNECTIONS = 64
SECONDS = 10.0
WARM = 2.0
#: How many times the rate of a transaction each.
AIM = 2.0


async def _load(port: int, token: str, seconds: float) -> tuple[float, list[float]]:
    """Commands a second after the warm-up, and how many ms each took."""
    begin = time.perf_counter() + WARM
    took: list[float] = []

    async def one(name: str) -> None:
        connection, n = await Connection.to(port), 0
        while (sent := time.perf_counter()) < begin + seconds:
            n += 1
            body, key = {"name": name, "n": n}, f"{name}-{n}"
            await connection.call("POST", "/v1/ticks", token, body, Idempotency_Key=key)
            if sent >= begin:
                took.append(connection.took)
        connection.close()

    await asyncio.gather(*(one(f"person{i}") for i in range(CONNECTIONS)))
    return len(took) / seconds, took


async def rate(stack: Stack, mode: str, seconds: float) -> tuple[float, list[float]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.command_server", mode),
        *("--bootstrap", stack.bootstrap, "--mongo", stack.mongo_url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            port, token = (await process.stdout.readline()).decode().rstrip("\n").split(" ", 1)
        return await _load(int(port), token, seconds)
    finally:
        process.terminate()
        await process.wait()


async def compare(stack: Stack, rounds: int, seconds: float = SECONDS) -> None:
    ratios = []
    for n in range(rounds):
        rates, tails = {}, {}
        for mode in ("each", "group") if n % 2 else ("group", "each"):
            rates[mode], took = await rate(stack, mode, seconds)
            tails[mode] = quantile(took, 0.99)
        ratios.append(rates["group"] / rates["each"])
        said = [f"{m} {rates[m]:.0f}/s, p99 {tails[m]:.0f} ms" for m in sorted(rates)]
        print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: " + "; ".join(said), flush=True)
    median = statistics.median(ratios)
    print(f"\n| group commit / a transaction each, {CONNECTIONS} connections | aim | |")
    print("|---|---|---|")
    word = "met" if median >= AIM else "MISSED"
    print(f"| {median:.1f} x ({min(ratios):.1f}-{max(ratios):.1f}) | {AIM:g} x | {word} |")
