"""How are the rendered manifests started by ``podman kube play``, which knows no cluster?

It takes Pods, ConfigMaps and Secrets; no Services, probes, migrations (Jobs) or names for ports. So
each template becomes a Pod on the machine's own network, told where the tests' broker and database
are; everything else of it (user, rights, read-only root, mounts, settings, limits) stays as it was
rendered. Podman 4.3 takes no volume of a Secret as Kubernetes does (it crashes over ``optional``
and decodes nothing), so those become ConfigMaps; a variable out of a Secret stays one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import yaml

from libs.common.devstack.places import SERVICES
from tests.support.manifests import Manifest, Manifests, plain
from tests.support.podman import Container, podman

#: Seconds; a busy machine starts six services at once.
START = 120

Secrets = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Playing:
    """One overlay, to be played under names that begin with ``prefix``.

    ``settings`` are laid over the ConfigMaps (by their plain name), ``secrets`` are the Secrets
    that an installation makes, ``maps`` its ConfigMaps.
    """

    manifests: Manifests
    prefix: str
    image: Callable[[str], str]
    settings: Mapping[str, Mapping[str, str]]
    secrets: Secrets
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def pod(self, service: str, component: str = "service") -> Manifest:
        """The Pod of a service, or of its migration, as podman takes it."""
        spec = self.manifests.pod(service, component)["spec"]
        (container,) = spec["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
        container.pop("ports", None)
        container |= {"image": f"localhost/{self.image(service)}", "imagePullPolicy": "Never"}
        kept = []
        for volume in spec["volumes"]:
            if secret := volume.pop("secret", None):
                name = secret["secretName"]
                if name not in self.secrets:
                    assert secret.get("optional"), f"{service} wants Secret {name}"
                    continue
                volume["configMap"] = {"name": name, "items": secret.get("items", [])}
            if "configMap" in volume:
                volume["configMap"]["name"] = self.named(volume["configMap"]["name"])
            kept.append(volume)
        names = {volume["name"] for volume in kept}
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] in names]
        for source in container["envFrom"]:
            source["configMapRef"]["name"] = self.named(source["configMapRef"]["name"])
        for variable in container["env"]:
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                reference["name"] = self.named(reference["name"])
        name = self.named(service if component == "service" else f"{component}-{service}")
        spec |= {"hostNetwork": True, "restartPolicy": "Never", "volumes": kept}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    def config_maps(self) -> Iterator[Manifest]:
        for manifest in self.manifests.kind("ConfigMap"):
            data = {**manifest["data"], **self.settings.get(plain(manifest), {})}
            yield self._config_map(manifest["metadata"]["name"], data)
        for name, found in self.maps.items():
            yield self._config_map(name, found)
        for name, secret in self.secrets.items():
            yield self._config_map(name, {key: value.decode() for key, value in secret.items()})

    def _config_map(self, name: str, data: Mapping[str, str]) -> Manifest:
        named = {"kind": "ConfigMap", "metadata": {"name": self.named(name)}}
        return {"apiVersion": "v1", **named, "data": dict(data)}

    def named(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    @contextmanager
    def running(self) -> Iterator[Mapping[str, Container]]:
        """Migrations to their end, then all services: started, perhaps not yet ready."""
        with ExitStack() as closing:
            closing.callback(self._forget)
            for name, data in self.secrets.items():
                encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
                closing.callback(podman, "secret", "rm", self.named(name))
                given = json.dumps(encoded).encode()
                podman("secret", "create", self.named(name), "-", given=given)
            for migration in closing.enter_context(self._played("migrate")).values():
                assert migration.exit_code(START) == 0, migration.logs()
            yield closing.enter_context(self._played("service"))

    def _forget(self) -> None:
        """The volumes that it made of ConfigMaps and Secrets, which ``down`` leaves."""
        made = podman("volume", "ls", "--quiet", f"--filter=name={self.prefix}").split()
        podman("volume", "rm", *made)

    @contextmanager
    def _played(self, component: str) -> Iterator[Mapping[str, Container]]:
        """Of all services at once."""
        pods = {service: self.pod(service, component) for service in SERVICES}
        given = yaml.safe_dump_all([*self.config_maps(), *pods.values()]).encode()
        try:
            podman("kube", "play", "-", given=given, timeout=START)
            yield {s: Container(f"{pod['metadata']['name']}-service") for s, pod in pods.items()}
        finally:
            podman("kube", "down", "-", given=given, timeout=START)
