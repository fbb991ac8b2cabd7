"""Does a command say the same to people and programs, and end without a traceback?"""

from __future__ import annotations

import json as json_module
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from lianxin.output import AWAY, LOOK, WRONG, Answer, Failed, Json, command, duration, table
from libs.common.kafka.client import BusError
from libs.common.mongo.errors import Duplicate, Unavailable


def run(ask: object, *arguments: str) -> tuple[int, str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command(ask))  # type: ignore[arg-type]
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_people_see_a_table_and_programs_the_same_facts() -> None:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

    async def ask(*, json: Json = False) -> Answer:
        shown = table("Some", ("what", "#how many", "when"), [("x", 3, at)])
        return Answer({"x": 3, "at": at, "age": timedelta(seconds=90)}, [shown], LOOK)

    code, out, _ = run(ask)
    assert code == LOOK and "2026-01-02 03:04:00Z" in out
    code, out, _ = run(ask, "--json")
    assert code == LOOK
    assert json_module.loads(out) == {"x": 3, "at": "2026-01-02T03:04:00+00:00", "age": 90.0}


@pytest.mark.parametrize(
    ("error", "code", "names"),
    [
        (Failed("Say --from."), WRONG, "Say --from."),
        (BusError("KafkaConnectionError"), AWAY, "KAFKA_BOOTSTRAP_SERVERS"),
        (Unavailable("no primary"), AWAY, "MONGO_URL"),
        (Duplicate("duplicate key"), LOOK, "Somebody else writes there now"),
    ],
)
def test_what_keeps_it_from_answering_is_one_sentence_with_the_remedy(
    error: Exception, code: int, names: str
) -> None:
    async def ask(*, json: Json = False) -> Answer:
        raise error

    ended, out, err = run(ask)
    assert ended == code and out == ""
    assert names in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (7_200, "2 h"),
        (90_061, "1 d 1 h"),
        (-5, "-5 s"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said
