"""What does an overlay come to? kustomize renders it; tests ask it by kind and name."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from libs.common.devstack.places import ROOT, SERVICES
from libs.common.runtime import ServiceSpec
from libs.common.settings import Settings

K8S = ROOT / "deploy" / "k8s"
OVERLAYS = ("dev", "hospital", "region")
#: Those that are for patients.
INSTALLATIONS = ("hospital", "region")
TOOLS = ROOT / ".deploy" / "bin"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"

Manifest = dict[str, Any]


def spec_of(service: str) -> ServiceSpec:
    found: ServiceSpec = import_module(f"services.{service}.main").SPEC
    return found


def settings_of(service: str) -> type[Settings]:
    return spec_of(service).settings


def kustomize(folder: Path) -> str:
    """The YAML of a folder with a kustomization."""
    return subprocess.run(
        [TOOLS / "kubectl", "kustomize", folder], check=True, capture_output=True, text=True
    ).stdout


@lru_cache
def _rendered(overlay: str) -> list[Manifest]:
    text = kustomize(K8S / "overlays" / overlay)
    return [m for m in yaml.load_all(text, yaml.CSafeLoader) if m]


class Manifests(list[Manifest]):
    """All manifests of one overlay; a copy of its own for each who asks, to plant faults in."""

    @classmethod
    def of(cls, overlay: str) -> Manifests:
        return cls(copy.deepcopy(_rendered(overlay)))

    def kind(self, *kinds: str) -> Iterator[Manifest]:
        return (m for m in self if m["kind"] in kinds)

    def one(self, kind: str, name: str) -> Manifest:
        (found,) = (m for m in self.kind(kind) if plain(m) == name)
        return found

    def pods(self) -> Iterator[tuple[str, str, Manifest]]:
        """Of the services and their migrations: the service, its component, the pod's template."""
        for manifest in self.kind("Deployment", "Job"):
            template = manifest["spec"]["template"]
            labels = template["metadata"]["labels"]
            if labels.get(NAME) in SERVICES and labels.get(COMPONENT) in ("service", "migrate"):
                yield labels[NAME], labels[COMPONENT], template

    def pod(self, service: str, component: str = "service") -> Manifest:
        (found,) = (t for s, c, t in self.pods() if (s, c) == (service, component))
        return found

    def environment(self, service: str, component: str = "service") -> dict[str, str | None]:
        """What the container is told; None: it is in a Secret."""
        container = self.pod(service, component)["spec"]["containers"][0]
        told: dict[str, str | None] = {}
        for source in container["envFrom"]:
            told |= self._named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            told[variable["name"]] = variable.get("value")
        return told

    def config(self, name: str) -> dict[str, str]:
        """The data of a ConfigMap."""
        data: dict[str, str] = self.one("ConfigMap", name)["data"]
        return data

    def _named(self, kind: str, name: str) -> Manifest:
        (found,) = (m for m in self.kind(kind) if m["metadata"]["name"] == name)
        return found


def plain(manifest: Mapping[str, Any]) -> str:
    """The name without the digest that kustomize gives a generated one."""
    name: str = manifest["metadata"]["name"]
    if manifest["kind"] == "ConfigMap" and len(name.rpartition("-")[2]) == 10:
        return name.rpartition("-")[0]
    return name
