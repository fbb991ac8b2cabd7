"""What does a line of the log look like, and what may it never hold?

One JSON object a line on stdout: ``time``, ``level``, ``service``, ``logger``, ``event``
(a static name), ids as fields, and within a span ``trace_id`` and ``span_id``. Libraries
that log through :mod:`logging` come out in the same form as ``library_log``; what one of them
repeats (a client whose broker is away does so thirty times a second) is written once in ten
seconds, and the next such line says with ``left_out`` how many were not.

Personal data is kept out by those who log; this module is the net below them: fields
with telling names are blanked and flagged, and an exception's message is written only
where it can't quote data (the network's errors) or in development, where all people
are invented.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from opentelemetry import trace

#: Names of fields that hold personal data or secrets, in any spelling of case or "-"/"_".
# fmt: off
PERSONAL: Final = frozenset(
    {
        "name", "full_name", "family_name", "given_name", "display_name", "patient_name",
        "person_name", "phone", "mobile", "telephone", "email", "mail", "address", "birth_date",
        "birthday", "date_of_birth", "gender", "sex", "id_card", "id_number", "national_id",
        "passport", "openid", "unionid", "external_userid", "contact", "contacts", "guardian",
        "guardians", "diagnosis", "diagnoses", "conclusion", "observation", "observations",
        "result_text", "text", "body", "message_text", "content", "medication", "token", "secret",
        "password", "authorization", "cookie", "accept_url", "data", "payload", "key", "value",
        "headers",
    }
)
# fmt: on
REMOVED: Final = "[removed]"

#: Exceptions (by the name of any base class) whose message tells of the network, not of data.
_SPEAKING: Final = frozenset({"OSError", "ConnectionFailure", "KafkaError", "ImportError"})

#: Libraries that log whole commands, records or URLs below this level.
_QUIET: Final = {
    "aiokafka": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "motor": logging.WARNING,
    "opentelemetry": logging.ERROR,
    "pymongo": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,  # its lines hold the path; ours holds the route
}

#: Seconds in which the same message of a library is written once.
ONCE_IN: Final = 10.0
#: So many different messages are remembered; what is beyond them is written.
_MOST: Final = 1_000

Event = MutableMapping[str, Any]


def remove_personal_data(_logger: Any, _method: str, event: Event) -> Event:
    """Blank the fields whose names tell of personal data, nested ones too, and flag it."""
    found: list[str] = []
    for key, value in list(event.items()):
        if key != "event":
            event[key] = _cleaned(key, value, found)
    if found:
        event["personal_data_removed"] = sorted(set(found))
    return event


def _cleaned(key: str, value: Any, found: list[str]) -> Any:
    if key.lower().replace("-", "_") in PERSONAL:
        found.append(key)
        return REMOVED
    if isinstance(value, Mapping):
        return {k: _cleaned(str(k), v, found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned("", v, found) for v in value]
    return value


class _Exceptions:
    """``exc_info`` becomes type, place and, where it is safe, message."""

    def __init__(self, messages: bool) -> None:
        self._messages = messages

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        info = event.pop("exc_info", None)
        if info is True:
            info = sys.exc_info()
        error = info[1] if isinstance(info, tuple) else info
        if isinstance(error, BaseException):
            event["exception"] = self._described(error)
        return event

    def _described(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        described: dict[str, Any] = {
            "type": type(error).__qualname__,
            "at": [f"{f.filename}:{f.lineno} {f.name}" for f in frames],
        }
        speaking = {base.__name__ for base in type(error).__mro__} & _SPEAKING
        if self._messages or speaking:
            described["message"] = str(error)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            described["cause"] = self._described(cause)
        return described


def add_trace(_logger: Any, _method: str, event: Event) -> Event:
    """Of which trace a line is a part, so that Grafana leads from one to the other."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
        event.setdefault("span_id", f"{context.span_id:016x}")
    return event


class _Repeated(logging.Filter):
    """Lets through what one of our own says, and of what a library says each message once in
    ``ONCE_IN`` seconds: what has the same logger, level, template and, if there is one, the same
    exception from the same place."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()  # the database's driver logs in threads of its own
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}  # when last, left out since

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str):  # structlog's: a dict
            return True
        key = (record.name, record.levelno, record.msg, *_raised(record))
        with self._lock:
            at, left_out = self._told.get(key, (None, 0))
            if at is not None and 0 <= record.created - at < ONCE_IN:
                self._told[key] = at, left_out + 1
                return False
            if at is None and len(self._told) >= _MOST:
                self._forget(record.created)
            if at is not None or len(self._told) < _MOST:
                self._told[key] = record.created, 0
        record.left_out = left_out
        return True

    def _forget(self, now: float) -> None:
        """Those of which nothing was left out, and that may be written again."""
        self._told = {
            key: (at, left_out)
            for key, (at, left_out) in self._told.items()
            if left_out or 0 <= now - at < ONCE_IN
        }


def _raised(record: logging.LogRecord) -> tuple[object, ...]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ()
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    return (type(error), *((f.filename, f.lineno) for f in frames))


def _library_log(_logger: Any, _method: str, event: Event) -> Event:
    """A library's free text is no event name: keep it as ``message``."""
    event["message"] = event["event"]
    event["event"] = "library_log"
    if left_out := getattr(event["_record"], "left_out", 0):
        event["left_out"] = left_out
    return event


def configure(service: str, *, level: str = "INFO", environment: str = "production") -> None:
    """Send everything that is logged in this process to stdout, as JSON lines."""

    def add_service(_logger: Any, _method: str, event: Event) -> Event:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
        add_trace,
        _Exceptions(messages=environment == "development"),
        remove_personal_data,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _library_log],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.addFilter(_Repeated())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
