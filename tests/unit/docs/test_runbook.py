"""Can what the runbook says be done: do its commands parse, are its words those of the code?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from lianxin.__main__ import app
from scripts.anchors import ROOT

TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
#: Also within a list, where it is indented.
BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.M | re.S)
#: Inline code may be broken between two lines, never between two paragraphs.
INLINE = [
    re.sub(r"\s+", " ", c) for c in re.findall(r"`((?:[^`\n]|\n(?! *\n))+)`", BLOCK.sub("", TEXT))
]
LINES = [
    line.strip()
    for block in BLOCK.findall(TEXT)
    for line in block.replace("\\\n", " ").splitlines()
]
CODE = [*INLINE, *LINES]


def of_lianxin() -> list[str]:
    """What is asked of the command line, without comments and what it is piped into."""
    found = []
    for code in CODE:
        words = re.sub(r"^python -m lianxin\b", "lianxin", code)
        if words.startswith("lianxin ") and words != "lianxin …":
            found.append(re.split(r"\s+[|#>]", words)[0])
    return sorted(set(found))


@pytest.mark.parametrize("line", of_lianxin())
def test_the_command_line_takes_it(line: str) -> None:
    """Each command and option exists; what an option or argument is worth is not judged."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{line}: no command {name}"
        command = command.commands[name]
    assert not hasattr(command, "commands"), f"{line}: which of {sorted(command.commands)}?"
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{line}: no option {word}"


def test_there_are_commands_to_look_at() -> None:
    assert {"lianxin status", "lianxin dlq list", "lianxin outbox"} <= set(of_lianxin())
    assert BLOCK.sub("", TEXT).count("`") % 2 == 0, "code that does not end"


def test_words_of_the_log_and_of_metrics_are_those_of_the_code() -> None:
    """What somebody searches for at night can be found."""
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for top in ("libs", "services", "lianxin", "deploy", "contracts/topics")
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".py", ".yaml", ".json")
    )
    words = {c for c in INLINE if re.fullmatch(r"[a-z]+(_[a-z]+)+", c)}
    theirs = ("kafka_server_", "kube_", "mongodb_")  # of Strimzi, Kubernetes and the exporter
    assert {w for w in words if w not in sources and not w.startswith(theirs)} == set()


def test_variables_are_those_of_the_settings() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    words = {w for c in INLINE for w in re.findall(r"^[A-Z]+(?:_[A-Z]+)+", c)}
    assert {w for w in words if f"`{w}`" not in settings} == set()


def test_files_that_are_named_exist() -> None:
    for code in INLINE:
        if re.fullmatch(r"(?:deploy|policies|docs|scripts|contracts)/[\w./-]+", code):
            assert (ROOT / Path(code)).exists(), code
