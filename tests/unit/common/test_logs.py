"""Is a line of the log what a machine can read and a lawyer may?"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import BaseModel
from pymongo.errors import AutoReconnect, DuplicateKeyError

from libs.common import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lines]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(**settings: str) -> Lines:
        out = io.StringIO()
        monkeypatch.setattr("sys.stdout", out)
        logs.configure("reports", **settings)
        return lambda: [json.loads(line) for line in out.getvalue().splitlines()]

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_line_is_json_with_a_static_event_and_what_was_bound(
    configured: Callable[..., Lines],
) -> None:
    lines = configured()
    with structlog.contextvars.bound_contextvars(event_id="e-1"):
        structlog.get_logger("libs.x").info("report_released", report_id="r-1")
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "report_released",
        "level": "info",
        "logger": "libs.x",
        "service": "reports",
        "event_id": "e-1",
        "report_id": "r-1",
    }


def test_a_library_that_uses_logging_comes_out_in_the_same_form(
    configured: Callable[..., Lines],
) -> None:
    lines = configured()
    logging.getLogger("aiokafka.consumer").warning("Heartbeat failed for %s", "group")
    (line,) = lines()
    assert (line["event"], line["message"]) == ("library_log", "Heartbeat failed for group")
    assert (line["level"], line["service"]) == ("warning", "reports")


class Seconds:
    """What time the next records have."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        record.created = self.now
        return record


@pytest.fixture
def seconds() -> Iterator[Seconds]:
    before, made = logging.getLogRecordFactory(), Seconds()
    logging.setLogRecordFactory(made)
    yield made
    logging.setLogRecordFactory(before)


def test_what_a_library_repeats_is_written_once_in_ten_seconds_with_a_count(
    configured: Callable[..., Lines], seconds: Seconds
) -> None:
    lines, aiokafka = configured(), logging.getLogger("aiokafka")
    for tenth in range(300):  # half a minute of a broker that is away
        seconds.now = 1_000 + tenth / 10
        for node in (1, 2, 3):
            aiokafka.error("Unable connect to node with id %s: %s", node, "refused")
    told = lines()
    assert [line.get("left_out") for line in told] == [None, 299, 299]
    assert {line["event"] for line in told} == {"library_log"}
    assert told[0]["message"] == "Unable connect to node with id 1: refused"
    seconds.now = 9_000.0
    aiokafka.error("Unable connect to node with id %s: %s", 2, "refused")
    assert lines()[-1]["left_out"] == 299, "the last ones are not forgotten"
    seconds.now = 8_000.0  # the clock was set back
    aiokafka.error("Unable connect to node with id %s: %s", 2, "refused")
    assert len(lines()) == 5 and "left_out" not in lines()[-1]


def test_nothing_else_is_left_out(configured: Callable[..., Lines], seconds: Seconds) -> None:
    lines, log = configured(level="INFO"), structlog.get_logger("libs.x")
    for _ in range(3):
        log.warning("ours_again", n=1)
    for library in ("aiokafka", "pymongo"):
        logging.getLogger(library).warning("Heartbeat failed")
        logging.getLogger(library).error("Heartbeat failed")
        logging.getLogger(library).error("Heartbeat failed for %s", "g")
    assert len(lines()) == 3 + 6
    for wrong in ("1 / 0", "int('x')", "int('y')"):
        try:
            eval(wrong)
        except (ZeroDivisionError, ValueError):
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    told = [line["exception"]["type"] for line in lines()[9:]]
    assert told == ["ZeroDivisionError", "ValueError"], "the same from the same place is one"


def test_messages_that_are_all_different_are_all_written_and_soon_forgotten(
    configured: Callable[..., Lines], seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MOST", 3)
    lines, library = configured(), logging.getLogger("somebody")
    for n in range(9):
        library.warning(f"number {n}")
    assert len(lines()) == 9
    (repeated,) = (f for f in logging.getLogger().handlers[0].filters)
    assert isinstance(repeated, logs._Repeated) and len(repeated._told) == 3
    library.warning("number 0")
    seconds.now += logs.ONCE_IN
    library.warning("number 9")
    assert len(lines()) == 10 and len(repeated._told) == 2, "0, of which one is owed, and 9"


def test_the_level_is_kept(configured: Callable[..., Lines]) -> None:
    lines = configured(level="WARNING")
    structlog.get_logger("libs.x").info("too_quiet")
    logging.getLogger("somebody").info("too quiet")
    structlog.get_logger("libs.x").warning("loud_enough")
    assert [line["event"] for line in lines()] == ["loud_enough"]


@pytest.mark.parametrize("library", ["pymongo.command", "aiokafka", "httpx", "uvicorn.access"])
def test_libraries_that_log_contents_stay_quiet_even_at_debug(
    library: str, configured: Callable[..., Lines]
) -> None:
    lines = configured(level="DEBUG")
    logging.getLogger(library).info("GET /v1/patients/张三")
    assert lines() == []


@pytest.mark.parametrize("key", ["name", "phone", "birth_date", "Email", "id-card", "token"])
def test_a_field_named_like_personal_data_is_blanked_and_flagged(
    key: str, configured: Callable[..., Lines]
) -> None:
    lines = configured()
    structlog.get_logger("libs.x").info(
        "found", **{key: "张三"}, nested={"list": [{key: "张三"}]}, report_id="r-1"
    )
    (line,) = lines()
    assert "张三" not in json.dumps(line, ensure_ascii=False)
    assert line[key] == "[removed]"
    assert line["personal_data_removed"] == [key]
    assert line["report_id"] == "r-1"


class _Person(BaseModel):
    birth: int


def _validation_error() -> Exception:
    try:
        _Person.model_validate({"birth": "张三"})
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error", [ValueError("张三"), DuplicateKeyError("dup key: 张三"), _validation_error()]
)
def test_an_exception_that_may_quote_data_is_logged_without_its_words(
    error: Exception, configured: Callable[..., Lines]
) -> None:
    lines = configured()
    try:
        raise error
    except Exception:
        structlog.get_logger("libs.x").exception("handler_failed")
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    for line in lines():
        assert "张三" not in json.dumps(line, ensure_ascii=False)
        assert line["exception"]["type"] == type(error).__qualname__
        assert any("test_logs.py" in at for at in line["exception"]["at"])
    assert len(lines()) == 2


@pytest.mark.parametrize("error", [ConnectionRefusedError("no route"), AutoReconnect("no route")])
def test_the_networks_errors_keep_their_words(
    error: Exception, configured: Callable[..., Lines]
) -> None:
    lines = configured()
    try:
        raise RuntimeError("张三") from error
    except RuntimeError:
        structlog.get_logger("libs.x").warning("database_away", exc_info=True)
    (line,) = lines()
    assert "message" not in line["exception"]
    assert line["exception"]["cause"]["message"] == "no route"


def test_in_development_exceptions_speak(configured: Callable[..., Lines]) -> None:
    lines = configured(environment="development")
    structlog.get_logger("libs.x").error("failed", exc_info=ValueError("wrong number"))
    assert lines()[0]["exception"]["message"] == "wrong number"
