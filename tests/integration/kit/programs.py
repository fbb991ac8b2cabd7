"""How the programs of the partner kit are compiled and called."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from libs.common.devstack.kafka import java
from libs.common.devstack.places import ROOT, jars

KIT = ROOT / "contracts" / "partner-kit"
#: What kafka-clients needs of the jars that the broker runs with.
CLIENT = [jar for jar in jars() if jar.name.startswith(("kafka-clients-", "slf4j-api-"))]

Command = Callable[..., list[str]]


def path_of(entries: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, entries))


def compiled(target: Path, *sources: Path) -> Path:
    """Java programs, compiled for Java 17 without a warning, where there is only a JRE too."""
    (compiler,) = jars(ROOT / "requirements" / "ecj.txt")
    options = ["-source", "17", "-target", "17", "-failOnWarning", "-d", str(target)]
    command = [str(java()), "-jar", str(compiler), *options, "-cp", path_of(CLIENT)]
    subprocess.run([*command, *map(str, sources)], check=True)
    return target


def of(language: str, classes: Path) -> Command:
    """How one of the kit's programs is called."""
    if language == "java":
        return lambda name, *rest: [str(java()), "-cp", path_of([classes, *CLIENT]), name, *rest]
    return lambda name, *rest: [sys.executable, str(KIT / "python" / f"{name.lower()}.py"), *rest]


def environment(**kafka: str) -> dict[str, str]:
    """That of this process, but for what would help a program that does not stand alone."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KAFKA_"))}
    return {**kept, **kafka}


async def run(command: list[str], env: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
    """The exit code, and what it said on either stream."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdout=pipe, stderr=pipe
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), err.decode()


async def first_line(command: list[str], env: Mapping[str, str], cwd: Path, part: str) -> str:
    """What a consumer prints first with ``part`` in it."""
    process: Any = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                if part in line.decode():
                    return str(line.decode().rstrip("\n"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    raise AssertionError(f"{command[0]} ended without {part!r}")
