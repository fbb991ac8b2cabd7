"""How does requirements/kafka.txt come about? ``make lock KAFKA=<version>`` runs this.

In ``.stack`` it resolves Kafka's own coordinates once, fetches every jar, and prints each one's
coordinate, SHA-256 and size. Look at the difference before you commit it.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext

from scripts.fetch_kafka import AT_ONCE, mirror

HEAD = """\
# Apache Kafka {version} and what it runs with, as Maven coordinates. Fetched and checked by
# scripts/fetch_kafka.py; no transitive resolution happens, so this list is the whole truth.
# log4j-slf4j-impl makes its log readable. coordinate, sha256, bytes
"""


def main(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), remote_repos=mirror())
        kafka = context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")
        inputs, others = context.resolver.resolve([kafka])
        found = [d for d in inputs + others if d.scope in ("compile", "runtime", None)]
        log4j = next(d.version for d in found if d.artifactId == "log4j-core")
        binding = f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}"
        found.append(context.create_dependency(binding))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            paths = list(pool.map(lambda d: d.artifact.resolve(), found))
        rows = [
            f"{d.groupId}:{d.artifactId}:{d.version} "
            f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size}\n"
            for d, path in zip(found, paths, strict=True)
        ]
    print(HEAD.format(version=version) + "".join(sorted(rows)), end="")


if __name__ == "__main__":
    main(sys.argv[1])
