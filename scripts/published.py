"""What stands under ``contracts/``, in the working tree or at some commit?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from libs.common.topic_registry import Topic
from scripts.compatibility import Schema


@dataclass(frozen=True)
class Published:
    """What stands in ``contracts/``, now or at some commit."""

    schemas: Mapping[str, Schema]
    topics: Mapping[str, Topic] = field(default_factory=dict)

    def status(self) -> dict[str, str]:
        return {t.type: t.status for topic in self.topics.values() for t in topic.types}


def read(contracts: Path) -> Published:
    """What stands in the folder ``contracts``."""
    files = [*(contracts / "schemas").glob("*.json"), *(contracts / "topics").glob("*.yaml")]
    return _parsed({path: path.read_text("utf-8") for path in files})


def read_at(ref: str, root: Path) -> Published | None:
    """What the commit ``ref`` of the repository ``root`` has; ``None`` if it has nothing."""
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", ref, "--", "contracts/")
    files = {
        Path(name): _git(root, "show", f"{ref}:{name}")
        for name in listed.split("\0")
        if name.startswith(("contracts/schemas/", "contracts/topics/"))
    }
    return _parsed(files, newer=True) if files else None


def commit(root: Path, ref: str) -> str:
    """The commit that ``ref`` names; empty if there is none."""
    return _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()


def _git(root: Path, *arguments: str) -> str:
    """What git prints; nothing where there is no git, no repository or no such commit."""
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.decode() if done.returncode == 0 else ""


def _parsed(files: Mapping[Path, str], *, newer: bool = False) -> Published:
    """``newer``: the files may say more of a topic than this code knows."""
    topics = {p.stem: yaml.safe_load(text) for p, text in files.items() if p.suffix == ".yaml"}
    if newer:
        topics = {n: {k: t[k] for k in t if k in Topic.model_fields} for n, t in topics.items()}
    return Published(
        {path.stem: json.loads(text) for path, text in files.items() if path.suffix == ".json"},
        {name: Topic.model_validate(topic) for name, topic in topics.items()},
    )
