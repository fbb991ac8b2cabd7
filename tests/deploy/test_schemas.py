"""Would a cluster take the manifests? Each overlay renders, and each kind fits its schema."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.manifests import OVERLAYS, TOOLS, Manifests

#: The newest, and the oldest one that Kubernetes' makers still mend beside it.
KUBERNETES = ("1.37.0", "1.34.0")
#: Those of the cluster itself; all others belong to operators (test_custom_resources.py).
BUILT_IN = {"v1", "apps/v1", "autoscaling/v2", "batch/v1", "networking.k8s.io/v1", "policy/v1"}
BUILT_IN |= {"rbac.authorization.k8s.io/v1"}


def validated(path: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "kubernetes-validate"), "--strict", "--quiet", "-k", version, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_cluster_of_this_version_takes_every_manifest(version: str, tmp_path: Path) -> None:
    rendered = {overlay: Manifests.of(overlay) for overlay in OVERLAYS}
    ours = {
        yaml.safe_dump(m) for each in rendered.values() for m in each if m["apiVersion"] in BUILT_IN
    }
    assert len(ours) > 100
    path = tmp_path / "manifests.yaml"
    path.write_text("---\n".join(sorted(ours)))
    done = validated(path, version)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("kind", "field"), [("Deployment", "replica"), ("NetworkPolicy", "podSelectors")]
)
def test_a_field_that_is_misspelt_is_refused(kind: str, field: str, tmp_path: Path) -> None:
    manifest = next(Manifests.of("dev").kind(kind))
    manifest["spec"][field] = 1
    path = tmp_path / "misspelt.yaml"
    path.write_text(yaml.safe_dump(manifest))
    assert field in (done := validated(path, KUBERNETES[0])).stdout + done.stderr
    assert done.returncode != 0
