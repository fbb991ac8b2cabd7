"""How do Apache Kafka's jars get here? By name and hash, out of requirements/kafka.txt.

``ecj.txt`` names a compiler for the tests in the same form.
``fetch_kafka.py <lock file> <folder>`` runs in ``.stack`` and lets jgo fetch what is
missing, in parallel, from Maven Central or from the mirror that ``MAVEN_MIRROR`` or
``~/.m2/settings.xml`` names; proxies are the usual variables. Nothing is resolved.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import threading
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from jgo.maven import MavenContext

AT_ONCE = 8
WHAT = {"kafka": "Apache Kafka", "ecj": "a compiler for Java"}
UNREACHABLE = 3


class Failed(Exception):
    """Its text is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Jar:
    coordinate: str
    sha256: str
    size: int

    def path(self, folder: Path) -> Path:
        group, artifact, version = self.coordinate.split(":")
        return folder.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")

    def is_whole(self, folder: Path) -> bool:
        path = self.path(folder)
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def read(lock: Path) -> list[Jar]:
    rows = [line.split() for line in lock.read_text().splitlines() if line and line[0] != "#"]
    return [Jar(name, digest.removeprefix("sha256:"), int(size)) for name, digest, size in rows]


def mirror() -> dict[str, str] | None:
    """The repository to use in place of Maven Central, if somebody set one."""
    if given := os.environ.get("MAVEN_MIRROR"):
        return {"mirror": given.rstrip("/")}
    with contextlib.suppress(OSError, xml.ParseError):
        for found in xml.parse(Path.home() / ".m2" / "settings.xml").iter():
            if found.tag.rpartition("}")[2] == "mirror":
                told = {e.tag.rpartition("}")[2]: (e.text or "").strip() for e in found}
                if told.get("mirrorOf") in ("*", "central", "external:*") and told.get("url"):
                    return {"mirror": told["url"].rstrip("/")}
    return None


class Progress:
    """One line with how much has come; a line for each quarter where nobody watches."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = self._told = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, filename: str, size: int) -> Iterator[Callable[[int], None]]:
        yield self._add

    def _add(self, count: int) -> None:
        with self._lock:
            self._seen += count
            step = 100 if sys.stdout.isatty() else 4
            if (part := step * self._seen // self._total) > self._told:
                self._told = part
                text = f"  {self._seen / 1e6:.0f} of {self._total / 1e6:.0f} MB"
                print(text, end="\r" if sys.stdout.isatty() else "\n", flush=True)


def fetch(jar: Jar, folder: Path, context: MavenContext) -> None:
    """Get one jar; a broken download is tried once more."""
    for _ in range(2):
        path = jar.path(folder)
        path.unlink(missing_ok=True)
        context.create_dependency(jar.coordinate).artifact.resolve()
        if jar.is_whole(folder):
            return
    path.unlink(missing_ok=True)
    raise Failed(
        f"{path.name} arrived twice with another content than requirements/ names by its hash: the "
        "repository or mirror is damaged; name another one with MAVEN_MIRROR=… and run this again."
    )


def main(lock: Path, folder: Path) -> None:
    from jgo.maven import MavenContext, PythonResolver  # installed in .stack only

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as guard:  # two clones may be set up at once
        fcntl.flock(guard, fcntl.LOCK_EX)
        wanted = [jar for jar in read(lock) if not jar.is_whole(folder)]
        if not wanted:
            return
        total = sum(jar.size for jar in wanted)
        print(f"… {WHAT[lock.stem]}: {len(wanted)} jars, {total / 1e6:.0f} MB", flush=True)
        context = MavenContext(
            repo_cache=folder,
            remote_repos=mirror(),
            timeout=20,
            resolver=PythonResolver(progress_callback=Progress(total)),
        )
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = [pool.submit(fetch, jar, folder, context) for jar in wanted]
            try:
                for one in found:
                    one.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Failed as failed:
        sys.exit(f"\n{failed}")
    except requests.RequestException:
        print(
            "\nApache Kafka's jars can't be fetched, because no Maven repository can be reached: "
            "connect to the network, or name a mirror with MAVEN_MIRROR=… or a proxy with "
            "HTTPS_PROXY=…, and run this again.",
            file=sys.stderr,
        )
        sys.exit(UNREACHABLE)
    except RuntimeError as missing:
        sys.exit(
            f"\nA jar of Apache Kafka is not where it should be ({missing}): see MAVEN_MIRROR."
        )
    except OSError as error:
        sys.exit(f"\nApache Kafka's jars can't be stored ({error.strerror}): free some disk space.")
    except KeyboardInterrupt:
        sys.exit("\nStopped half-way; the same command goes on from here.")
