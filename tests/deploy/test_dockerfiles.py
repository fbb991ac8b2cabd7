"""What does hadolint say of the Dockerfiles? Nothing. Do they agree with what surrounds them?"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from libs.common.devstack.places import ROOT
from tests.support.manifests import TOOLS

DOCKERFILE = ROOT / "deploy/Dockerfile"
ALL = sorted((ROOT / "deploy").rglob("Dockerfile"))


def lint(file: Path) -> str:
    command = [str(TOOLS / "hadolint"), "--failure-threshold=style", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_hadolint_finds_nothing() -> None:
    assert len(ALL) == 3
    assert {file: lint(file) for file in ALL} == {file: "" for file in ALL}


def test_hadolint_would_find_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(f"{DOCKERFILE.read_text('utf-8')}RUN cd /tmp && apt-get install curl\n")
    assert "DL3008" in lint(wrong)


def test_what_is_copied_is_sent_to_the_builder_and_nothing_more_is_sent() -> None:
    copied = set(re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE.read_text("utf-8"), re.M))
    sent = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    locks = {file for file in copied if file.startswith("requirements/")}
    assert sent - {"requirements/*.txt"} == copied - locks
    assert locks == {f"requirements/{name}.txt" for name in ("uv", "run", "cli")}
