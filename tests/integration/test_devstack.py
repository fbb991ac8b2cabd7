"""Does the stack come up, survive kill -9, and go down without leaving anything behind?"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libs.common.devstack.child import Program, sweep
from libs.common.devstack.errors import StackError
from libs.common.devstack.part import Said
from libs.common.devstack.places import ROOT, Ports
from libs.common.devstack.probe import http_answers, kafka_answers, mongo_answers
from libs.common.devstack.stack import Stack
from libs.common.kafka.producer import Producer
from libs.common.kafka.reading import read_all
from libs.common.kafka.topics import TopicSpec, create_topics
from libs.common.mongo.database import Database


@dataclass(frozen=True, slots=True)
class Row:
    topic: str
    key: bytes | None = b"key"
    value: bytes | None = b"value"
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)


def processes_of(folder: Path) -> list[str]:
    """The commands of all running programs that name ``folder``."""
    listing = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if str(folder) in line]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


async def test_what_was_acknowledged_survives_a_kill_9_of_broker_and_database(
    tmp_path: Path,
) -> None:
    with Stack(tmp_path) as stack:
        await create_topics(stack.bootstrap, [TopicSpec("kept", 1, 1, {})])
        producer = Producer(stack.bootstrap)
        await producer.start()
        await producer.send([Row("kept", value=b"before")])
        await producer.stop()
        database = Database(stack.mongo_url, "devstack")
        await database.ensure("kept")
        await database.update_row(
            database.raw("kept"), {"_id": "1"}, {"$set": {"a": 1}}, upsert=True
        )
        await database.close()

        stack.kill("kafka")
        stack.kill("mongo")
        assert not kafka_answers("127.0.0.1", stack.ports.kafka)
        assert not mongo_answers("127.0.0.1", stack.ports.mongo)
        stack.restart("kafka")
        stack.restart("mongo")

        async for record in read_all(stack.bootstrap, ["kept"]):
            assert record.value == b"before"
            break
        database = Database(stack.mongo_url, "devstack")
        assert [r["a"] for r in await database.find_rows(database.raw("kept"), {})] == [1]
        await database.close()
    assert processes_of(tmp_path) == []


def test_a_child_that_dies_is_restarted_and_reported(tmp_path: Path) -> None:
    told: list[str] = []

    def tell(part: str, said: Said) -> None:
        told.append(f"{part} {said.en}")

    with Stack(tmp_path, tell=tell, supervise=True) as stack:
        stack.kill("mongo")
        until(lambda: "mongo is back and answers" in told)
        assert "mongo died with code -9; restarting in 0.5 s" in told
        assert mongo_answers("127.0.0.1", stack.ports.mongo)
    assert processes_of(tmp_path) == []
    assert told[-1] == "mongo is back and answers"  # going down was no death


def test_nothing_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from libs.common.devstack.stack import Stack\n"
        f"with Stack(Path({str(tmp_path)!r})): print('up', flush=True); time.sleep(600)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "up\n"
    assert len(processes_of(tmp_path)) >= 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    until(lambda: processes_of(tmp_path) == [])


def test_what_a_killed_launcher_left_behind_is_swept_at_the_next_start(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    started = Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()[19]
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "kafka").write_text(f"{left.pid} {started}")
    (tmp_path / "pids" / "mongo").write_text(f"{os.getpid()} 1")  # now another's pid: ours
    assert sweep(tmp_path) == ["kafka"]
    assert left.wait(5) == -signal.SIGKILL
    assert list((tmp_path / "pids").iterdir()) == []


def test_a_second_launcher_over_the_same_data_is_refused(stack: Stack) -> None:
    with pytest.raises(StackError, match="already up"), Stack(stack.folder):
        pass
    assert kafka_answers("127.0.0.1", stack.ports.kafka)


def test_a_taken_port_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    ports = Ports.free()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.kafka))
        other.listen()
        with pytest.raises(StackError) as caught, Stack(tmp_path, ports):
            pass
    sentence = str(caught.value)
    assert str(ports.kafka) in sentence
    assert "KAFKA_PORT=" in sentence
    assert "\n" not in sentence
    assert processes_of(tmp_path) == []


def test_a_child_that_dies_while_starting_is_one_sentence_with_its_last_words(
    stack: Stack,
) -> None:
    crash = [sys.executable, "-c", "import sys; sys.exit('Error: the sky fell')"]
    with pytest.raises(StackError) as caught:
        stack.start_program(Program("crasher", crash, ready=lambda: False))
    stack.remove("crasher")
    assert "the sky fell" in str(caught.value)
    assert "crasher.log" in str(caught.value)


def test_a_child_that_ignores_sigterm_is_killed_with_its_whole_group(
    stack: Stack, tmp_path: Path
) -> None:
    script = "trap '' TERM; sleep 601 & echo $! > pid; wait; sleep 602"
    stubborn = Program(
        "stubborn",
        ["sh", "-c", script],
        ready=(tmp_path / "pid").exists,
        cwd=tmp_path,
        stop_seconds=0.5,
    )
    child = stack.start_program(stubborn)
    until(lambda: (tmp_path / "pid").read_text().strip().isdigit())
    grandchild = int((tmp_path / "pid").read_text())
    stack.remove("stubborn")
    assert child.exit_code() == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{grandchild}").exists())


def test_a_broker_that_is_named_is_used_and_not_started(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("MONGO_URL", stack.mongo_url)
    with Stack(tmp_path) as other:
        assert (other.bootstrap, other.mongo_url) == (stack.bootstrap, stack.mongo_url)
        assert other.parts == {}
    assert kafka_answers("127.0.0.1", stack.ports.kafka)


@pytest.mark.parametrize("variable", ["KAFKA_BOOTSTRAP_SERVERS", "MONGO_URL"])
def test_a_named_server_that_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: Stack, variable: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("MONGO_URL", stack.mongo_url)
    monkeypatch.setenv(
        variable, "127.0.0.1:1" if variable.startswith("K") else "mongodb://127.0.0.1:1"
    )
    with pytest.raises(StackError, match=f"{variable} names .*127.0.0.1:1"), Stack(tmp_path):
        pass


def test_the_stand_in_for_kafka_is_for_looking_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIANXIN_CACHE", str(tmp_path / "empty"))
    with pytest.raises(StackError, match="jars are missing"), Stack(tmp_path / "test"):
        pass
    told: list[str] = []
    with Stack(
        tmp_path / "look", look_only=True, tell=lambda part, said: told.append(said.en)
    ) as stack:
        assert kafka_answers("127.0.0.1", stack.ports.kafka)
        assert stack.service_environment()["KAFKA_IDEMPOTENCE"] == "off"
    assert any("Tansu" in text and "nothing on disk" in text for text in told)


def test_a_service_and_a_replica_of_it_come_up_ready_and_go_down(stack: Stack) -> None:
    stack.migrate("reports")
    stack.start_service("reports")
    stack.start_service("reports", replica=2)
    urls = [stack.service_url(name) for name in ("reports", "reports-2")]
    assert len(set(urls)) == 2
    assert all(http_answers(f"{url}/readyz") for url in urls)
    for name in ("reports-2", "reports"):
        stack.remove(name)
    assert not any(http_answers(f"{url}/livez") for url in urls)
