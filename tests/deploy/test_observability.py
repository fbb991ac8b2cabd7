"""Would an installation be seen: its metrics read, its traces and logs kept, and found in Grafana?

The same files serve Kubernetes and deploy/compose.yaml. What the programs themselves can be asked
here, they are asked (promtool); the others only run on a cluster (docs/verification.md).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.devstack.places import ROOT, SERVICES
from tests.support.components import pods, rendered
from tests.support.manifests import COMPONENT, NAME, Manifest, Manifests, plain

DEPLOY = ROOT / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


@pytest.fixture
def manifests() -> Manifests:
    return rendered("observability")


# -- what is read -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kubernetes", "compose"])
def test_prometheus_takes_its_settings(name: str, tmp_path: Path) -> None:
    config = read(f"prometheus/{name}.yaml")
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):  # Debian's promtool is built without it
            job["static_configs"] = [{"targets": ["pod:1"]}]
    path = tmp_path / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    command = ["promtool", "check", "config", "--syntax-only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert config["rule_files"] == ["/etc/prometheus-rules/*.yaml"]


def meta(template: Manifest, container: Manifest, port: Manifest) -> dict[str, str]:
    """What Prometheus knows of a pod's port before relabelling."""
    labels = {re.sub(r"\W", "_", k): v for k, v in template["metadata"]["labels"].items()}
    return {
        **{f"__meta_kubernetes_pod_label_{name}": value for name, value in labels.items()},
        "__meta_kubernetes_pod_container_name": container["name"],
        "__meta_kubernetes_pod_container_port_name": port["name"],
        "__address__": f"10.0.0.1:{port['containerPort']}",
    }


def kept(job: Manifest, target: dict[str, str]) -> dict[str, str] | None:
    """The labels after relabelling; ``None``: it is not read."""
    labels = dict(target)
    for rule in job["relabel_configs"]:
        value = ";".join(labels.get(name, "") for name in rule["source_labels"])
        found = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action") == "keep":
            if not found:
                return None
        elif found:
            replacement = rule.get("replacement", "$1").replace("$1", r"\1")
            labels[rule["target_label"]] = found.expand(replacement)
    return {name: value for name, value in labels.items() if not name.startswith("__meta_")}


def job_of(name: str) -> Manifest:
    jobs: list[Manifest] = read(f"prometheus/{name}.yaml")["scrape_configs"]
    (job,) = (job for job in jobs if job["job_name"] == "lianxin")
    return job


def seen(manifests: Manifests) -> Iterator[dict[str, str]]:
    job = job_of("kubernetes")
    for m in manifests.kind("Deployment", "StatefulSet"):
        template = m["spec"]["template"]
        for container in template["spec"]["containers"]:
            for port in container.get("ports", ()):
                labels = kept(job, meta(template, container, port))
                if labels is not None:
                    yield labels


def test_each_service_s_pods_are_read_once_under_its_name() -> None:
    found = [(each["service"], each["__address__"]) for each in seen(Manifests.of("hospital"))]
    assert sorted(found) == sorted((name, f"10.0.0.1:{port}") for name, port in SERVICES.items())


def test_on_one_machine_they_have_the_same_names() -> None:
    job = job_of("compose")
    found = {each["labels"]["service"]: each["targets"] for each in job["static_configs"]}
    assert found == {name: [f"{name}:{port}"] for name, port in SERVICES.items()}


def test_the_services_send_traces_to_what_the_collector_listens_at(manifests: Manifests) -> None:
    endpoint = read("otel/collector.yaml")["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    asked = Manifests.of("hospital").config("lianxin")["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert asked == f"http://otel-collector:{endpoint.rpartition(':')[2]}"
    ports = {p["port"] for p in manifests.one("Service", "otel-collector")["spec"]["ports"]}
    assert int(endpoint.rpartition(":")[2]) in ports


def test_the_collector_names_only_parts_that_it_has_and_keeps_all_traces() -> None:
    config = read("otel/collector.yaml")
    (pipeline,) = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(config[kind])
    assert pipeline["processors"][0] == "memory_limiter"  # before anything is taken in
    assert not [name for name in config["processors"] if "sampl" in name]


# -- what is found ----------------------------------------------------------------------


def test_every_rule_is_on_the_cluster(manifests: Manifests) -> None:
    there = {path.name for path in (DEPLOY / "prometheus/rules").glob("*.yaml")}
    assert there and manifests.config("prometheus-rules").keys() == there


def test_every_dashboard_is_on_the_cluster(manifests: Manifests) -> None:
    there = {path.name for path in (DEPLOY / "grafana/dashboards").glob("*.json")}
    assert there and manifests.config("grafana-dashboards").keys() == there


def test_a_config_map_stays_under_what_a_cluster_takes(manifests: Manifests) -> None:
    for m in manifests.kind("ConfigMap"):
        assert sum(len(text.encode()) for text in m["data"].values()) < 1_000_000, plain(m)


def test_grafana_s_links_lead_to_sources_that_are_there(manifests: Manifests) -> None:
    sources = read("grafana/provisioning/datasources.yaml")["datasources"]
    uids = {source["uid"] for source in sources}
    text = yaml.safe_dump(sources)
    assert set(re.findall(r"datasourceUid: (\S+)", text)) <= uids
    services = {m["metadata"]["name"]: m for m in manifests.kind("Service")}
    for source in sources:
        name, port = source["url"].removeprefix("http://").split(":")
        assert int(port) in {p["port"] for p in services[name]["spec"]["ports"]}


def test_dashboards_ask_sources_that_are_there() -> None:
    uids = {s["uid"] for s in read("grafana/provisioning/datasources.yaml")["datasources"]}
    for path in (DEPLOY / "grafana/dashboards").glob("*.json"):
        asked = re.findall(r'"datasource": \{[^}]*"uid": "([^"]+)"', path.read_text("utf-8"))
        own = {uid for uid in asked if not uid.startswith(("$", "-- "))}
        assert own <= uids, path.name


@pytest.mark.parametrize("name", ["kubernetes", "compose"])
def test_the_log_s_fields_are_those_that_are_written(name: str) -> None:
    text = (DEPLOY / f"alloy/{name}.alloy").read_text("utf-8")
    assert 'expressions = {level = "level", trace_id = "trace_id", time = "time"}' in text
    assert text.count("{") == text.count("}")


def test_both_ways_of_reading_logs_do_the_same_with_a_line() -> None:
    tails = {
        (DEPLOY / f"alloy/{name}.alloy").read_text("utf-8").partition('loki.process "lines"')[2]
        for name in ("kubernetes", "compose")
    }
    (tail,) = tails
    assert tail


# -- how it runs ------------------------------------------------------------------------


def test_every_image_is_of_one_version_and_the_same_on_one_machine(manifests: Manifests) -> None:
    compose = {s["image"] for s in read("compose.yaml")["services"].values()}
    for name, pod in pods(manifests):
        for container in pod["containers"]:
            assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), name
            assert name == "kube-state-metrics" or container["image"] in compose, name


def test_a_config_map_is_not_mounted_into_another(manifests: Manifests) -> None:
    """Into a read-only volume no folder can be made, and the pod does not start."""
    for name, pod in pods(manifests):
        for container in pod["containers"]:
            mounts = container.get("volumeMounts", ())
            read_only = [m["mountPath"] + "/" for m in mounts if m.get("readOnly")]
            for mount in mounts:
                inside = [p for p in read_only if mount["mountPath"].startswith(p)]
                assert inside == [], name


def test_what_one_may_send_the_other_lets_in(manifests: Manifests) -> None:
    """Of each policy's egress to pods of the component, the other end's ingress has the port."""
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests.kind("NetworkPolicy")}
    checked = 0
    for name, policy in policies.items():
        for rule in policy["egress"]:
            for to in rule.get("to", ()):
                other = to.get("podSelector", {}).get("matchLabels", {}).get(NAME)
                if other is None:
                    continue
                allowed = {
                    port["port"]
                    for back in policies[other]["ingress"]
                    for port in back["ports"]
                    if {"podSelector": {"matchLabels": {NAME: name}}} in back["from"]
                }
                assert {port["port"] for port in rule["ports"]} <= allowed, (name, other)
                checked += 1
    assert checked >= 10


def test_the_collector_lets_services_in(manifests: Manifests) -> None:
    (rule, _) = manifests.one("NetworkPolicy", "otel-collector")["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {COMPONENT: "service"}}}]
    assert rule["ports"] == [{"port": 4318, "protocol": "TCP"}]
