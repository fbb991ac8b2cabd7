"""Would a namespace that enforces Pod Security's profile `restricted` take a pod?

kubernetes.io/docs/concepts/security/pod-security-standards, as far as a `securityContext` says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.support.manifests import Manifest


def refused(pod: Manifest, containers: Mapping[str, Manifest]) -> Iterator[str]:
    """Why not; ``pod`` and each of ``containers`` as they have a `securityContext`."""
    whole: Manifest = pod.get("securityContext", {})
    for name, container in containers.items():
        own: Manifest = container.get("securityContext", {})
        both = {**whole, **own}
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: capabilities"
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield f"{name}: runAsNonRoot"
        if both.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: seccompProfile"
