"""Does each policy let through just what a setting names?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from libs.common.devstack.places import SERVICES
from tests.support.manifests import (
    COMPONENT,
    INSTALLATIONS,
    K8S,
    NAME,
    Manifest,
    Manifests,
    kustomize,
    settings_of,
)

#: The policy, whose need it is, and the setting that names the other end.
EGRESS = {
    "to-kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "to-mongodb": "MONGO_URL",
    "to-collector": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "to-oidc": "OIDC_JWKS_URL",
    "to-signing": "SIGNING_URL",
    "to-clinical": "CLINICAL_URL",
    "to-smtp": "SMTP_HOST",
    "to-webhooks": "WEBHOOK_ALLOW_PRIVATE",
}
#: A migration needs the database alone.
MIGRATION = {"to-mongodb"}
INGRESS = {
    "from-prometheus": {"http"},
    "from-gateway": {"http"},
    "from-cli": {"http", "mllp"},  # its certificate; who has no such port opens none
    "from-mllp": {"mllp"},
}


def port_of(setting: str, told: Mapping[str, str | None]) -> int:
    value = told.get(setting) or ""
    if setting == "SMTP_HOST":
        return int(told["SMTP_PORT"] or 0)
    if setting == "WEBHOOK_ALLOW_PRIVATE":
        return 443  # https, unless told otherwise
    if "://" not in value:
        return int(value.rpartition(":")[2])
    first = value.split(",")[-1] if value.startswith("mongodb") else value
    parts = urlsplit(first if "://" in first else f"//{first}")
    return parts.port or 443


def chosen(selector: Manifest, labels: Mapping[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(
        labels.get(e["key"]) in e["values"] and e["operator"] == "In"
        for e in selector.get("matchExpressions", ())
    )


def ports_of(policy: Manifest, direction: str) -> set[int | str]:
    return {p["port"] for rule in policy["spec"][direction] for p in rule["ports"]}


def wrong(manifests: Manifests) -> list[str]:
    policies = {m["metadata"]["name"]: m for m in manifests.kind("NetworkPolicy")}
    found = []
    for service, component, template in manifests.pods():
        who, labels = f"{component} {service}", template["metadata"]["labels"]
        told = manifests.environment(service, component)
        wanted: dict[str, set[int | str]] = {"to-dns": {53}}
        for name, setting in EGRESS.items():
            known = setting.lower() in settings_of(service).model_fields
            used = told.get(setting) or (setting == "WEBHOOK_ALLOW_PRIVATE" and known)
            if used and (component == "service" or name in MIGRATION):
                wanted[name] = {port_of(setting, told)}
        if component == "service":
            wanted |= {name: {*ports} for name, ports in INGRESS.items() if name != "from-mllp"}
            if "mllp_port" in settings_of(service).model_fields:
                wanted["from-mllp"] = {"mllp"}
        given = {
            name: ports_of(policy, "egress" if name.startswith("to-") else "ingress")
            for name, policy in policies.items()
            if name != "default-deny" and chosen(policy["spec"]["podSelector"], labels)
        }
        found += [
            f"{who}: {name} {given.get(name)}, needed: {wanted.get(name)}"
            for name in sorted(given | wanted)
            if given.get(name) != wanted.get(name)
        ]
    for name, policy in policies.items():
        for rule in [r for way in ("egress", "ingress") for r in policy["spec"].get(way, ())]:
            peers = rule.get("to", rule.get("from", ()))
            if name in (*EGRESS, *INGRESS, "to-dns") and (not peers or not all(peers)):
                found.append(f"{name} is for anybody")
    deny = policies.get("default-deny", {}).get("spec")
    if deny != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        found.append("default-deny")
    return found


@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_each_policy_lets_through_what_a_setting_names_and_nothing_else(overlay: str) -> None:
    assert wrong(Manifests.of(overlay)) == []


def test_webhooks_lead_to_no_private_network() -> None:
    policy = Manifests.of("hospital").one("NetworkPolicy", "to-webhooks")
    (rule,) = policy["spec"]["egress"]
    v4, v6 = (peer["ipBlock"] for peer in rule["to"])
    assert v4["cidr"] == "0.0.0.0/0" and {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(
        v4["except"]
    )
    assert v6["cidr"] == "::/0" and "fc00::/7" in v6["except"]


def test_the_command_line_reaches_all_that_its_checks_ask() -> None:
    manifests = Manifests.of("hospital")
    labels = manifests.one("Deployment", "cli")["spec"]["template"]["metadata"]["labels"]
    given = {
        m["metadata"]["name"]
        for m in manifests.kind("NetworkPolicy")
        if chosen(m["spec"]["podSelector"], labels)
    }
    assert given == {"default-deny", "to-dns", "to-kafka", "to-mongodb", "to-oidc", "cli"}


TO_API_SERVER = "-to-api-server"


def kafka_s(component: str) -> dict[str, str]:
    return {"strimzi.io/cluster": "lianxin-kafka", "strimzi.io/component-type": component}


ASKING_KUBERNETES = (
    kafka_s("kafka"),
    kafka_s("entity-operator"),
    {"app": "lianxin-mongodb-svc"},
    *({NAME: name} for name in ("prometheus", "alloy", "kube-state-metrics")),
)


def test_who_asks_kubernetes_itself_may_reach_it_and_others_may_not() -> None:
    policies = list(Manifests.of("hospital").kind("NetworkPolicy"))
    to = [m["spec"] for m in policies if m["metadata"]["name"].endswith(TO_API_SERVER)]
    for labels in ASKING_KUBERNETES:
        (policy,) = (p for p in to if chosen(p["podSelector"], labels))
        assert policy["policyTypes"] == ["Egress"]
        assert {p["port"] for p in policy["egress"][0]["ports"]} == {443, 6443}, labels
    service = {NAME: "reports", COMPONENT: "service"}
    for labels in (kafka_s("kafka-exporter"), {NAME: "grafana"}, service):
        assert not [p for p in to if chosen(p["podSelector"], labels)], labels


def test_the_overlay_s_patches_narrow_all_that_may_go_to_the_api_server(tmp_path: Path) -> None:
    """Those, and who wakes people, are the only ones that may go anywhere."""
    overlay = K8S / "overlays" / "hospital"
    lines = (overlay / "kustomization.yaml").read_text("utf-8").splitlines()
    patches = yaml.safe_load("\n".join(n[3:] for n in lines if n.startswith(("  #-", "  #  "))))
    told = {"resources": [os.path.relpath(overlay, tmp_path)], "patches": patches}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(told))
    for text, names in (
        (
            kustomize(overlay),
            {f"{of}{TO_API_SERVER}" for of in ("kafka", "mongodb", "observability")}
            | {"prometheus-to-kubelets"},
        ),
        (kustomize(tmp_path), set[str]()),
    ):
        anywhere = {
            m["metadata"]["name"]
            for m in yaml.load_all(text, yaml.CSafeLoader)
            if m["kind"] == "NetworkPolicy"
            if any("to" not in rule for rule in m["spec"].get("egress", ()))
        }
        assert anywhere == {"alertmanager"} | names


def _without(manifests: Manifests, name: str) -> None:
    manifests.remove(manifests.one("NetworkPolicy", name))


def test_a_policy_that_is_missing_is_found() -> None:
    faulty = Manifests.of("hospital")
    _without(faulty, "to-smtp")
    _without(faulty, "default-deny")
    assert wrong(faulty) == ["service notify: to-smtp None, needed: {587}", "default-deny"]


def test_a_policy_that_lets_others_through_is_found() -> None:
    faulty = Manifests.of("hospital")
    faulty.one("NetworkPolicy", "to-signing")["spec"]["podSelector"]["matchLabels"] = {
        COMPONENT: "service",
        NAME: "notify",
    }
    del faulty.one("NetworkPolicy", "to-kafka")["spec"]["egress"][0]["to"]
    assert wrong(faulty) == [
        "service notify: to-signing {443}, needed: None",
        "service prescriptions: to-signing None, needed: {443}",
        "to-kafka is for anybody",
    ]


def test_another_port_than_the_setting_s_is_found() -> None:
    faulty = Manifests.of("hospital")
    faulty.config("lianxin")["KAFKA_BOOTSTRAP_SERVERS"] = "kafka.hospital.example:9094"
    assert len(wrong(faulty)) == len(SERVICES)
