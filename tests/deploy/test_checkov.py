"""What does checkov say of the manifests? Nothing, but for what is decided otherwise here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_schemas import BUILT_IN
from tests.support.manifests import OVERLAYS, TOOLS, Manifests, plain

SKIPPED = {
    "CKV_K8S_11": "no limit of CPU: it stops the event loop, and the consumer's heartbeat with "
    "it, while the node has time to spare; requests share a busy node out",
    "CKV_K8S_15": "a tag is never made anew, so a node that has it need not ask the registry, "
    "which may be away when a pod must start",
    "CKV_K8S_35": "passwords are read once at the start into settings that print none; files "
    "would be read the same. The keys of the cipher, which change while it runs, are files",
    "CKV_K8S_38": "three ask Kubernetes itself, and need a token for it: Prometheus, Alloy and "
    "kube-state-metrics; what they may ask stands in components/observability/rights.yaml",
    "CKV_K8S_43": "tags in the repository; who deploys pins digests (`kustomize edit set image`) "
    "of images that they built themselves",
}
#: The command line's pod serves nobody: it waits for whoever comes by `exec`.
NOT_PROBED = {(check, "Deployment.lianxin.cli") for check in ("CKV_K8S_8", "CKV_K8S_9")}


def checked(folder: Path, *manifests: Any) -> list[dict[str, Any]]:
    """What fails, each with `check_id`, `check_name` and `resource`."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    command = [str(TOOLS / "checkov"), "--framework", "kubernetes", "--skip-download", "--compact"]
    done = subprocess.run(
        [*command, "--output", "json", "--file", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert result["summary"]["parsing_errors"] == 0
    assert result["summary"]["passed"] > 5 * len(manifests)
    failed: list[dict[str, Any]] = result["results"]["failed_checks"]
    return failed


@pytest.mark.timeout(400)  # a quarter of a minute of work, on a machine that may be busy
def test_checkov_finds_only_what_is_decided_otherwise(tmp_path: Path) -> None:
    # Of each name one, the hospital's if it has it; of kinds that checkov knows.
    ours = {
        (m["kind"], plain(m)): m
        for overlay in sorted(OVERLAYS, key="hospital".__eq__)
        for m in Manifests.of(overlay)
        if m["apiVersion"] in BUILT_IN and m["kind"] != "ConfigMap"
    }
    privileged = next(Manifests.of("dev").kind("Deployment"))
    container = privileged["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["privileged"] = True
    privileged["metadata"]["name"] = "planted"

    failed = checked(tmp_path, *ours.values(), privileged)

    planted = [f["check_id"] for f in failed if f["resource"].endswith(".planted")]
    assert "CKV_K8S_16" in planted
    found = {
        (f["check_id"], f["resource"])
        for f in failed
        if f["check_id"] not in SKIPPED and not f["resource"].endswith(".planted")
    }
    assert found == NOT_PROBED
    assert {f["check_id"] for f in failed} >= set(SKIPPED), "what is not found is not skipped"
