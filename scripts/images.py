"""How are all images built, and under which names?

``python -m scripts.images [service …]`` builds ``<PREFIX>/<service>:<VERSION>`` by docker or podman
(``ENGINE``) out of ``deploy/Dockerfile``. What this machine says to pip (an index, a proxy's
certificate) goes for the build too, as secrets that no layer keeps. Further flags of ``build``
are taken from ``BUILD_FLAGS``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from libs.common.devstack.places import ROOT, SERVICES
from scripts.bootstrap import pip_settings

NAMES = (*SERVICES, "cli")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def engine() -> str:
    if found := os.environ.get("ENGINE") or shutil.which("docker") or shutil.which("podman"):
        return found
    sys.exit("Neither docker nor podman is here: install one, or name it with ENGINE=….")


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def facts(version: str) -> dict[str, str]:
    """What an image says of itself. Of the commit, not of the moment: the same gives the same."""
    changed = "-changed" if _git("status", "--porcelain") else ""
    return {
        "VERSION": version,
        "REVISION": _git("rev-parse", "HEAD") + changed,
        "CREATED": _git("show", "--no-patch", "--format=%cI", "HEAD"),
    }


@contextmanager
def secrets() -> Iterator[list[str]]:
    """Flags that lend the build what pip knows here: its index, and whose certificates count."""
    told = pip_settings()
    with tempfile.TemporaryDirectory() as name:
        files = {"pip.conf": Path(name, "pip.conf"), "uv.toml": Path(name, "uv.toml")}
        usual = {k: v for k, v in told.items() if k in ("index-url", "proxy", "trusted-host")}
        files["pip.conf"].write_text(
            "[global]\n" + "".join(f"{key} = {value}\n" for key, value in usual.items())
        )
        index = told.get("index-url")
        files["uv.toml"].write_text(
            f'[[index]]\nurl = "{index}"\ndefault = true\n' if index else ""
        )
        given = Path(told.get("cert", CA_BUNDLE))
        if given.exists():
            files["ca.crt"] = given
        yield [f"--secret=id={id},src={path}" for id, path in files.items()]


def build(
    service: str,
    tag: str,
    told: Mapping[str, str],
    *,
    program: str,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Build one image as ``tag``, with ``facts``; the same way for a person and for the tests."""
    arguments = {"SERVICE": service, **told}
    with secrets() as lent:
        subprocess.run(
            [
                *(program, "build", "--file", "deploy/Dockerfile", "--tag", tag),
                *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                *(*lent, *flags, "."),
            ],
            cwd=ROOT,
            env=environment,
            check=True,
        )


def main(names: Sequence[str]) -> None:
    if unknown := set(names) - set(NAMES):
        sys.exit(f"{', '.join(sorted(unknown))}: there are {', '.join(NAMES)}.")
    program, prefix = engine(), os.environ.get("PREFIX") or "lianxin"
    wanted = os.environ.get("VERSION") or version()
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    told = facts(wanted)
    for name in names or NAMES:
        build(name, f"{prefix}/{name}:{wanted}", told, program=program, flags=flags)
    subprocess.run([program, "images", f"--filter=reference={prefix}/*:{wanted}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
