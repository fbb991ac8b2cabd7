"""Do the README's lines do what it says, one after another, in a person's shell?

The blocks between ``<!-- by hand -->`` and ``<!-- end -->`` are run as they stand; only the
ports are this run's own. What must come out stands in the ``text`` block below a ``sh``
block. Where a person would ask again, so does the test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from libs.common.devstack.places import PAGE, ROOT, SERVICES
from libs.common.devstack.stack import Stack

WITHIN = 30.0


def by_hand(readme: str) -> list[tuple[str, list[str]]]:
    """The blocks to run, each with the pieces of text that must come out, in this order."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    section = text.split("<!-- by hand -->")[1].split("<!-- end -->")[0]
    found: list[tuple[str, list[str]]] = []
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S):
        if language == "sh":
            found.append((block, []))
        elif language == "text":
            lines = block.splitlines()
            found[-1][1].extend(piece for line in lines for piece in line.split("…") if piece)
    return found


class Shell:
    """A shell that remembers variables and functions from block to block."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._memory = folder / "memory.sh"
        self._memory.touch()
        self._ports = {PAGE: stack.ports.page} | {
            usual: stack.ports.services[name] for name, usual in SERVICES.items()
        }
        self._environment = {
            **{k: v for k, v in os.environ.items() if k.lower() != "http_proxy"},
            # As somebody does who has moved the data and the page.
            "DATA_DIR": str(stack.folder),
            "PAGE_PORT": str(stack.ports.page),
        }

    def moved(self, text: str) -> str:
        for usual, port in self._ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text

    def run(self, block: str) -> str:
        script = (
            f"source {self._memory}\nset -a\n{self.moved(block)}\nset +a\n"
            f"{{ export -p; declare -f; }} > {self._memory}\n"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and not done.stderr, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout


def missing(output: str, pieces: list[str]) -> str | None:
    """The first piece that does not come, in order."""
    at = 0
    for piece in pieces:
        found = output.find(piece, at)
        if found < 0:
            return piece
        at = found + len(piece)
    return None


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "make"))), reason="needs bash, curl and make"
)
@pytest.mark.timeout(240)
@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_journeys_can_be_redone_by_hand(platform: Stack, tmp_path: Path, readme: str) -> None:
    shell = Shell(platform, tmp_path)
    blocks = by_hand(readme)
    assert len(blocks) >= 8

    for block, pieces in blocks:
        deadline = time.monotonic() + WITHIN
        output = shell.run(block)
        while what := missing(output, [shell.moved(p) for p in pieces]):
            assert time.monotonic() < deadline, f"no {what!r} after\n{block}\n{output}"
            time.sleep(0.5)
            output = shell.run(block)


def test_both_readmes_have_the_same_lines() -> None:
    assert by_hand("README.md") == by_hand("README.zh-CN.md")
