"""What can be set from outside? ``python -m scripts.settings`` prints it as docs/settings.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from lianxin.installation import CommandSettings
from libs.common.devstack.places import SERVICES
from libs.common.settings import Settings

HEAD = """# Settings

Environment variables of the services, read once at the start; a wrong or missing one is named, and
the service does not start. Passwords have variables of their own, so that no address holds one.
Files are PEM; Kafka's are read anew whenever a client is made. Made by
`python -m scripts.settings`; do not edit.
"""

COMMAND_LINE = """`lianxin` reads Kafka's and the database's variables of above, as one user who may
read all topics, groups and databases, write replay topics, audit records and what ends with a
retired partner, and set groups back. With neither `KAFKA_BOOTSTRAP_SERVERS` nor `MONGO_URL`
it looks at the platform of `make run`. Besides:"""


def row(name: str, field: FieldInfo) -> str:
    """A line of the table."""
    default: Any = field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr) or default in ("", None):
        default = ""
    elif isinstance(default, timedelta):
        default = to_jsonable_python(default)
    meaning = field.description or ""
    if get_origin(field.annotation) is Literal:
        choices = "one of " + ", ".join(f"`{c}`" for c in get_args(field.annotation))
        meaning = f"{meaning}; {choices}" if meaning else choices
    shown = f"`{default}`" if default != "" else ""
    return f"| `{name.upper()}` | {shown} | {meaning} |"


def table(fields: Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in fields:
        yield row(name, field)


def markdown() -> str:
    """docs/settings.md."""
    common = {n: f for n, f in Settings.model_fields.items() if n != "http_port"}
    lines = [HEAD, "## Every service", "", *table(common.items())]
    for service in SERVICES:
        own = import_module(f"services.{service}.settings").Settings.model_fields
        lines += ["", f"## {service}", ""]
        lines += table((n, f) for n, f in own.items() if n not in common)
    own = CommandSettings.model_fields
    lines += ["", "## The command line", "", COMMAND_LINE, ""]
    lines += table((n, f) for n, f in own.items() if n not in Settings.model_fields)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
