"""Does every command that writes leave a record in the audit trail?

Asked of the whole tree of commands, by the code that each one reaches within the command line:
what calls something that writes must reach :mod:`lianxin.trail`. That the record is written
first, and what it says, is tested with each command on the real parts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, cast

import pytest
import typer

from lianxin import policy, trail
from lianxin.__main__ import app
from lianxin.installation import Installation
from lianxin.output import Answer, Json, command
from libs.common import migrate
from libs.common.audit import Outcome
from libs.common.clock import Ports
from libs.common.kafka import access as kafka_access
from libs.common.kafka.admin import Kafka
from libs.common.kafka.cluster import Cluster
from libs.common.kafka.producer import Producer
from libs.common.mongo import copy as mongo_copy
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable

#: Our ports, each with what of it changes nothing; all else that it offers writes.
READS: Final[dict[Any, set[str]]] = {
    Database: {
        "of", "there", "raw", "collection", "ping", "find_rows", "size", "count_rows",
        "ask", "is_embedded", "collection_names", "indexes", "changes", "close",
    },
    Cluster: {
        "controller", "brokers", "topics", "denied", "topic_configs", "broker_configs", "group",
    },
    Kafka: {"close", "topics", "places", "ends", "offsets_at", "committed", "group", "records"},
    Producer: {"start", "stop", "abandon"},
    kafka_access: {"rights", "everybodys_rights"},
    mongo_copy: {"size_of", "as_it_stands"},
    migrate: {"missing"},
}  # fmt: skip
#: Of the standard library, what changes files. Opening one to read is no writing.
FILES: Final = {
    "write", "write_text", "write_bytes", "mkdir", "rename", "unlink", "rmdir",
    "touch", "makedirs", "remove", "fsync",
}  # fmt: skip
#: The trail's own. ``send`` is what a cluster is told by, reading or writing.
OWN: Final = {"record", "ended", "recorded"}


def offered(port: Any) -> set[str]:
    """What a port of ours can be asked for, by name."""
    if isinstance(port, ModuleType):
        return {
            name
            for name, value in vars(port).items()
            if inspect.isfunction(value) and value.__module__ == port.__name__ and name[0] != "_"
        }
    return {name for name in vars(port) if name[0] != "_" and callable(getattr(port, name))}


WRITES: Final = FILES.union(*(offered(port) - reads for port, reads in READS.items()))


def names(code: CodeType) -> Iterator[str]:
    """Every name that a function uses, also in what is defined in it."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names(constant)


def reached(function: Callable[..., Any]) -> dict[str, set[str]]:
    """By its name each function of the command line that this one may call, and what it uses."""
    found: dict[str, set[str]] = {}
    waiting: list[Any] = [function]
    while waiting:
        each = inspect.unwrap(waiting.pop())
        if inspect.isclass(each):
            waiting += [f for f in vars(each).values() if inspect.isfunction(f)]
        if not isinstance(each, FunctionType):
            continue
        here = f"{each.__module__}.{each.__qualname__}"
        if here in found or not (each.__module__ or "").startswith(("lianxin", __name__)):
            continue
        found[here] = set(names(each.__code__))
        for name in found[here]:
            value = each.__globals__.get(name)
            if isinstance(value, ModuleType):  # trail.record, kafka_access.deny: by attribute
                waiting += [vars(value)[n] for n in found[here] if n in vars(value)]
            elif value is not None:
                waiting.append(value)
    return found


def writes(function: Callable[..., Any]) -> set[str]:
    """What it reaches that writes, outside the trail itself."""
    return {
        f"{where}: {name}"
        for where, used in reached(function).items()
        if not where.startswith(trail.__name__)
        for name in used & WRITES
    }


def records(function: Callable[..., Any]) -> bool:
    return any(where.startswith(f"{trail.__name__}.") for where in reached(function))


def commands(of: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for each in of.registered_commands:
        assert each.callback is not None
        yield " ".join((*path, each.name or each.callback.__name__)), each.callback
    for group in of.registered_groups:
        assert group.typer_instance is not None and group.name is not None
        yield from commands(group.typer_instance, (*path, group.name))


TREE: Final = dict(commands(app))


def unrecorded(function: Callable[..., Any]) -> set[str]:
    return set() if records(function) else writes(function)


def test_what_only_reads_is_there() -> None:
    for port, reads in READS.items():
        assert reads <= offered(port), port


@pytest.mark.parametrize("name", TREE)
def test_what_writes_is_recorded(name: str) -> None:
    assert not unrecorded(TREE[name])


def test_those_that_write_are_known_to_and_name_who_acts() -> None:
    writing = {name for name, function in TREE.items() if writes(function)}
    assert writing == {
        "dlq replay", "replay", "topics apply", "partner add", "partner retire",
        "backup create", "backup restore", "backup rewind",
    }  # fmt: skip
    # What reveals patients' data writes nothing, and is recorded all the same.
    recording = {name for name, function in TREE.items() if records(function)}
    assert recording == writing | {"dlq show"}
    for name in recording:
        assert "operator" in inspect.signature(TREE[name]).parameters, name


@command
async def careless(json: Json = False) -> Answer:
    installation = Installation.of_environment({})
    await forget(installation)
    return Answer({})


async def forget(installation: Installation) -> None:
    await installation.database("interop").delete_rows("audit", ["1"])


@command
async def scribbling(file: Path, json: Json = False) -> Answer:
    def scribble() -> None:
        file.write_text("?")

    scribble()
    return Answer({})


def test_a_command_that_writes_without_a_record_is_found() -> None:
    assert unrecorded(careless) == {f"{__name__}.forget: delete_rows"}
    assert unrecorded(scribbling) == {f"{__name__}.scribbling: write_text"}
    assert not unrecorded(TREE["policy check"]) and not records(policy.check)


class Trail:
    """In place of a service's database; away after ``rows`` records."""

    def __init__(self, rows: int) -> None:
        self.left = rows
        self.outcomes: list[tuple[str | None, str]] = []

    def sink(self, _name: str) -> Trail:
        return self

    async def insert_many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self.left:
            raise Unavailable("away")
        self.left -= 1
        self.outcomes += [(row["outcome"], row["outcomeDesc"]) for row in rows]


SAID: Final[dict[str, Any]] = {
    "operator": "w.chen",
    "what": "topics apply",
    "kind": "110131",
    "action": "U",
    "entities": {"": ["t"]},
}


@pytest.mark.parametrize(
    ("undone", "fails", "end"),
    [
        ((), None, (Outcome.SUCCESS, "")),
        (("a stays", "b stays"), None, (Outcome.MINOR_FAILURE, "a stays; b stays")),
        ((), ValueError("a patient's name"), (Outcome.SERIOUS_FAILURE, "ValueError")),
    ],
)
async def test_a_record_stands_before_it_is_done_and_another_says_how_it_ended(
    undone: tuple[str, ...], fails: Exception | None, end: tuple[str, str]
) -> None:
    rows = Trail(9)
    with pytest.raises(ValueError) if fails else nullcontext():
        async with trail.recorded(Ports(), cast("Database", rows), **SAID) as left:
            assert rows.outcomes == [(None, "")]
            left += undone
            if fails:
                raise fails
    assert rows.outcomes == [(None, ""), end]


async def test_without_a_record_nothing_is_done_and_what_was_done_is_not_lost_for_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Unavailable):
        async with trail.recorded(Ports(), cast("Database", Trail(0)), **SAID):
            pytest.fail("it was done")
    assert capsys.readouterr().err == ""
    async with trail.recorded(Ports(), cast("Database", Trail(1)), **SAID):
        pass
    assert "How this ended could not be recorded" in capsys.readouterr().err
