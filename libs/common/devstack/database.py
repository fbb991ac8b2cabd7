"""How does the embedded MongoDB-wire server run as a child process?

SecantusDB's own server on WiredTiger: transactions, change streams, TTL. It is GPL-2.0 and
therefore a program beside ours, out of a venv of its own, never a library.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from libs.common.devstack.child import Program
from libs.common.devstack.places import Ports, stack_program
from libs.common.devstack.probe import mongo_answers

REPLICA_SET = "secantus"


def url(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


def program(folder: Path, ports: Ports) -> Program:
    data = folder / "mongo"
    data.mkdir(parents=True, exist_ok=True)
    return Program(
        name="mongo",
        argv=[
            *(str(stack_program("secantusd-rs")), "--host", "127.0.0.1"),
            *("--port", str(ports.mongo), "--storage-path", str(data)),
            # An acknowledged commit is on disk; journal and cache sized for one machine.
            *("--sync-on-commit", "--log-file-max", "64MB", "--cache-size", "256M"),
        ],
        ready=partial(mongo_answers, "127.0.0.1", ports.mongo),
        cwd=data,  # it looks for a secantusd.toml where it starts
        advice="If its data was damaged, `make clean` starts afresh.",
    )
