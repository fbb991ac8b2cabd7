"""What is in each image that others wrote, as a CycloneDX document?

``python -m scripts.sbom DIR [version]`` writes ``DIR/<service>.cdx.json`` for every image, out of
its lock. cyclonedx-py (in ``.deploy``) does the writing; it knows no markers, so what a lock holds
for other systems is left out here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from libs.common.devstack.places import ROOT
from scripts.images import NAMES, version

CYCLONEDX = ROOT / ".deploy/bin/cyclonedx-py"
#: What an image is, as PEP 508 asks it.
IMAGE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def lock(service: str) -> Path:
    """What the image of ``service`` is installed from; deploy/Dockerfile says the same."""
    return ROOT / "requirements" / ("cli.txt" if service == "cli" else "run.txt")


def requirements(lock: Path) -> Iterator[str]:
    """The requirements that hold in an image, each with its hashes on one line."""
    joined = lock.read_text("utf-8").replace("\\\n", " ")
    for line in joined.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            wanted = Requirement(re.split(r"\s+--hash", line, maxsplit=1)[0])
            if wanted.marker is None or wanted.marker.evaluate(IMAGE):
                yield line


def packages(lock: Path) -> dict[str, str]:
    """Names, as they are locked, with versions."""
    found = (Requirement(re.split(r"\s+--hash", line)[0]) for line in requirements(lock))
    return {package.name: str(package.specifier).removeprefix("==") for package in found}


def document(service: str, release: str) -> Mapping[str, Any]:
    """CycloneDX 1.6: the image as the component, the locked packages with their hashes in it."""
    told = subprocess.run(
        [CYCLONEDX, "requirements", "-", "--schema-version=1.6", "--output-reproducible"],
        input="\n".join(requirements(lock(service))),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    made: dict[str, Any] = json.loads(told)
    made["metadata"]["component"] = {
        "bom-ref": "root-component",
        "type": "container",
        "name": f"lianxin/{service}",
        "version": release,
        "licenses": [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}],
    }
    made["dependencies"].append(
        {"ref": "root-component", "dependsOn": sorted(c["bom-ref"] for c in made["components"])}
    )
    return made


def main(folder: Path, release: str) -> None:
    if not CYCLONEDX.exists():
        sys.exit(f"{CYCLONEDX} is missing: run `scripts/bootstrap deploy`.")
    folder.mkdir(parents=True, exist_ok=True)
    for service in NAMES:
        made = json.dumps(document(service, release), indent=2, ensure_ascii=False)
        (folder / f"{service}.cdx.json").write_text(f"{made}\n", "utf-8")
        print(folder / f"{service}.cdx.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if sys.argv[2:] else version())
