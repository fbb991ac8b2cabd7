"""How does a command answer people and programs, and how does it end?

A command is an async function that returns an :class:`Answer`: the same facts as ``--json`` and
as something to look at. What keeps it from answering is one sentence that names the remedy, never
a traceback. Exit codes: 0 well, 1 there is something to look at, 2 wrongly asked or set, 3 a part
of the installation can't be reached.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import PurePath
from typing import Annotated, Any, Final, ParamSpec

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from libs.common.kafka.client import BusError
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable

P = ParamSpec("P")

WELL, LOOK, WRONG, AWAY = 0, 1, 2, 3
#: Columns where nobody looks: what is piped is not cut to a terminal's.
WIDE: Final = 200

Json = Annotated[bool, typer.Option("--json", help="The same as JSON, for programs.")]


class Failed(Exception):
    """What keeps a command from answering: a sentence that names the remedy."""

    def __init__(self, sentence: str, code: int = WRONG) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """``facts``: what ``--json`` prints. ``shown``: what a person sees of them."""

    facts: Any
    shown: Sequence[RenderableType] = ()
    code: int = WELL


def console(*, stderr: bool = False) -> Console:
    """Where a person reads; made anew, as a test replaces the streams."""
    there = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if there.isatty() else WIDE, highlight=False)


def command(ask: Callable[P, Coroutine[Any, Any, Answer]]) -> Callable[P, None]:
    """A command of typer's out of an async function, one of whose parameters is ``json``."""

    @wraps(ask)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            answer = asyncio.run(ask(*args, **kwargs))
        except Failed as error:
            _end(str(error), error.code)
        except BusError as error:
            _end(
                f"Kafka does not answer ({error}): see KAFKA_BOOTSTRAP_SERVERS and the other"
                " settings of Kafka, and whether this user may do that.",
                AWAY,
            )
        except Conflict as error:
            _end(f"Somebody else writes there now ({error}): look what they do, then again.", LOOK)
        except (Unavailable, Unstorable) as error:
            _end(
                f"The database does not answer ({error}): see MONGO_URL, MONGO_USERNAME and"
                " whether this user may do that.",
                AWAY,
            )
        except KeyboardInterrupt:
            _end("Interrupted.", 130)
        if kwargs.get("json"):
            print(json.dumps(answer.facts, default=plain, ensure_ascii=False, indent=2))
        else:
            out = console()
            for each in answer.shown:  # a sentence, a token or a manifest is not broken in two
                out.print(each, soft_wrap=isinstance(each, str | Text))
        raise typer.Exit(answer.code)

    return run


def _end(sentence: str, code: int) -> None:
    console(stderr=True).print(sentence, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def wrong_settings(error: ValidationError) -> Failed:
    """A setting that can't be used, by the name of its variable."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    text = first["msg"].removeprefix("Value error, ")
    return Failed(f"{name}: {text} (docs/settings.md)." if name else f"{text} (docs/settings.md).")


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows of text, numbers, times; a column whose name begins with ``#`` is of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        number = column.startswith("#")
        made.add_column(column.lstrip("#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(text(cell) for cell in row))
    return made


def text(value: object) -> str:
    """A cell. Marks of rich's own, such as ``[red]``, may be in it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, timedelta):
        return duration(value)
    return str(value)


def duration(value: timedelta) -> str:
    """As people say it, in its two largest units."""
    seconds = int(value.total_seconds())
    if seconds < 0:
        return f"-{duration(-value)}"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for n, (name, size) in enumerate(units):
        if seconds >= size and name != "s":
            rest = seconds % size // units[n + 1][1]
            return f"{seconds // size} {name}" + (f" {rest} {units[n + 1][0]}" if rest else "")
    return f"{seconds} s"


def plain(value: object) -> Any:
    """What JSON has no word for."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)
