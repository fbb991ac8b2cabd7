"""What do parts of an installation come to, each by itself?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from tests.support.manifests import K8S, Manifest, Manifests, kustomize

COMPONENTS = K8S / "components"


@cache
def _rendered(names: tuple[str, ...], base: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        relative = [os.path.relpath(COMPONENTS / name, folder) for name in names]
        kustomization: Manifest = {"namespace": "lianxin", "components": relative}
        if base:
            kustomization["resources"] = [os.path.relpath(K8S / "base", folder)]
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(Path(folder))


def rendered(*names: str, base: bool = False) -> Manifests:
    """These components alone, or upon the services' ``base``."""
    return Manifests(m for m in yaml.load_all(_rendered(names, base), yaml.CSafeLoader) if m)


def pods(manifests: Manifests) -> Iterator[tuple[str, Manifest]]:
    """Name and spec of every pod that something makes."""
    for m in manifests.kind("CronJob"):
        yield m["metadata"]["name"], m["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for m in manifests.kind("Job", "Deployment", "StatefulSet", "DaemonSet"):
        yield m["metadata"]["name"], m["spec"]["template"]["spec"]


def secrets_of(pod: Manifest) -> Iterator[tuple[str, str | None]]:
    """Names and keys that a pod can't do without; ``None``: all keys."""
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        for variable in container.get("env", ()):
            found = variable.get("valueFrom", {}).get("secretKeyRef")
            if found and not found.get("optional"):
                yield found["name"], found["key"]
    for volume in pod.get("volumes", ()):
        found = volume.get("secret")
        if found and not found.get("optional"):
            for item in found.get("items", [{"key": None}]):
                yield found["secretName"], item["key"]
