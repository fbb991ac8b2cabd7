"""Do the manifests agree with one another and with the code?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from libs.common.devstack.places import MLLP, ROOT, SERVICES
from libs.common.http.app import OWN
from libs.common.runtime import DRAIN, GRACE, LEAVE
from tests.support.manifests import (
    COMPONENT,
    INSTALLATIONS,
    NAME,
    OVERLAYS,
    Manifest,
    Manifests,
    plain,
    settings_of,
)

#: Seconds for the last spans, and for a node that is busy.
SPANS, SPARE = 3, 5
PROBES = {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
#: Every service has one of each, named as it.
KINDS = ("Deployment", "Service", "ServiceAccount", "ConfigMap", "PodDisruptionBudget")
#: What a pod may write to: nothing, but for keys of our own in development.
WRITABLE = {("dev", "prescriptions", "signing-keys")}
#: docs/runbook.md says who makes each of them.
SECRETS = {"cipher-keys", "lianxin-kafka-cluster-ca-cert", "mongodb-ca", "interop-mllp-tls"}
SECRETS |= {"oidc-ca", "notify-smtp", "notify-webhooks", "signing-tls", "clinical-tls"}
SECRETS |= {f"{s}-{of}" for s in SERVICES for of in ("kafka", "mongodb")}

Check = Callable[[Manifests, str], Iterator[str]]


def absent(manifests: Manifests, overlay: str) -> Iterator[str]:
    there = {(m["kind"], plain(m)) for m in manifests}
    for service in SERVICES:
        wanted = [(kind, service) for kind in KINDS] + [("Job", f"migrate-{service}")]
        yield from (f"{kind} {name}" for kind, name in wanted if (kind, name) not in there)
        scaled = {kind for kind, name in there if name == service} & {
            "HorizontalPodAutoscaler",
            "ScaledObject",
        }
        if len(scaled) != (overlay in INSTALLATIONS):
            yield f"{service} is scaled by {sorted(scaled)}"


def selectors(manifests: Manifests, overlay: str) -> Iterator[str]:
    """Each selects the pods of its own Deployment, and the migration's never."""
    labels = {(s, c): t["metadata"]["labels"] for s, c, t in manifests.pods()}
    chosen: list[tuple[str, str, dict[str, str]]] = []
    for m in manifests.kind("Deployment", "PodDisruptionBudget"):
        chosen.append((m["kind"], plain(m), m["spec"]["selector"]["matchLabels"]))
    for m in manifests.kind("Service"):
        chosen.append((m["kind"], plain(m), m["spec"]["selector"]))
    for m in manifests.kind("Deployment"):
        for spread in m["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
            chosen.append(("spread of", plain(m), spread["labelSelector"]["matchLabels"]))
    for kind, name, selector in chosen:
        service = name.removesuffix("-mllp").removesuffix("-replicas")
        if service not in SERVICES:
            continue
        found = {at for at, own in labels.items() if selector.items() <= own.items()}
        if found != {(service, "service")}:
            yield f"{kind} {name} selects {sorted(found)}"


def ports(manifests: Manifests, overlay: str) -> Iterator[str]:
    for service, port in SERVICES.items():
        (container,) = manifests.pod(service)["spec"]["containers"]
        wanted = {"http": port} | ({"mllp": MLLP} if service == "interop" else {})
        named = {p["name"]: p["containerPort"] for p in container["ports"]}
        if named != wanted or manifests.environment(service)["HTTP_PORT"] != str(port):
            yield f"{service} listens at {named}"
        if settings_of(service).model_fields["http_port"].default != port:
            yield f"{service} has another port in its settings"
        for probe, path in (
            ("startup", "/livez"),
            ("readiness", "/readyz"),
            ("liveness", "/livez"),
        ):
            asked = container[f"{probe}Probe"]["httpGet"]
            if asked != {"path": path, "port": "http"} or ("GET", path) not in OWN:
                yield f"{service}'s {probe} asks {asked}"
    for m in manifests.kind("Service"):
        for port in m["spec"]["ports"]:
            if plain(m).split("-")[0] in SERVICES and port["targetPort"] != port["name"]:
                yield f"Service {plain(m)} leads to {port['targetPort']}"


def stops(manifests: Manifests, overlay: str) -> Iterator[str]:
    """A rolling update takes no pod away before another is there, nor before it is done."""
    for service in SERVICES:
        manifest = manifests.one("Deployment", service)
        if manifest["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            yield f"{service} is missed while it is updated"
        linger = float(manifests.environment(service)["LINGER_SECONDS"] or "")
        grace = manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        if grace < linger + GRACE + DRAIN + LEAVE + SPANS + SPARE:
            yield f"{service} is killed after {grace} s"


def privileges(manifests: Manifests, overlay: str) -> Iterator[str]:
    """The profile `restricted` of Pod Security, a root that can't be written, and no token."""
    (namespace,) = manifests.kind("Namespace")
    for mode in ("enforce", "warn", "audit"):
        if (
            namespace["metadata"]["labels"].get(f"pod-security.kubernetes.io/{mode}")
            != "restricted"
        ):
            yield f"the namespace does not {mode}"
    for service, component, template in manifests.pods():
        spec, (container,) = template["spec"], template["spec"]["containers"]
        own, whole = container["securityContext"], spec["securityContext"]
        if not (
            (whole["runAsNonRoot"], whole["runAsUser"]) == (True, 10001)
            and whole["seccompProfile"] == {"type": "RuntimeDefault"}
            and own["readOnlyRootFilesystem"]
            and own["allowPrivilegeEscalation"] is False
            and own["capabilities"] == {"drop": ["ALL"]}
        ):
            yield f"{component} {service} has privileges"
        if spec["automountServiceAccountToken"] or spec["serviceAccountName"] != service:
            yield f"{component} {service} has a token"
        for mount in container["volumeMounts"]:
            if not mount.get("readOnly") and (overlay, service, mount["name"]) not in WRITABLE:
                yield f"{component} {service} writes to {mount['name']}"
    for account in manifests.kind("ServiceAccount"):
        if plain(account) in SERVICES and account["automountServiceAccountToken"]:
            yield f"{plain(account)}'s account gives tokens"


def references(manifests: Manifests, overlay: str) -> Iterator[str]:
    """What a pod mounts or reads is made here, or by whom the runbook names."""
    made = {m["metadata"]["name"] for m in manifests.kind("ConfigMap")} | {"dev-issuer"}
    for service, component, template in manifests.pods():
        (container,) = template["spec"]["containers"]
        maps = {e["configMapRef"]["name"] for e in container["envFrom"]}
        secrets = {
            e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"] if "valueFrom" in e
        }
        volumes = {v["name"] for v in template["spec"]["volumes"]}
        for volume in template["spec"]["volumes"]:
            maps |= {volume["configMap"]["name"]} if "configMap" in volume else set()
            secrets |= {volume["secret"]["secretName"]} if "secret" in volume else set()
        if volumes != {m["name"] for m in container["volumeMounts"]}:
            yield f"{component} {service} has volumes that it does not mount"
        yield from (f"{component} {service}: {name}" for name in maps - made)
        yield from (f"{component} {service}: {name}" for name in secrets - SECRETS)
        others = {f"{s}-{of}" for s in SERVICES for of in ("kafka", "mongodb") if s != service}
        yield from (f"{component} {service} is told {name}" for name in secrets & others)


def images(manifests: Manifests, overlay: str) -> Iterator[str]:
    for service, component, template in manifests.pods():
        (container,) = template["spec"]["containers"]
        name, _, tag = container["image"].rpartition(":")
        if not name.endswith(f"lianxin/{service}") or not tag or tag == "latest":
            yield f"{component} {service} is {container['image']}"
        module = f"services.{service}.main" if component == "service" else "libs.common.migrate"
        if component == "migrate" and container["command"] != ["python", "-m", module, service]:
            yield f"{component} {service} runs {container['command']}"


def namespaces(manifests: Manifests, overlay: str) -> Iterator[str]:
    for m in manifests:
        if m["kind"] in ("ClusterRole", "ClusterRoleBinding"):  # for the kubelets' metrics alone
            lianxin = {"kind": "ServiceAccount", "name": "prometheus", "namespace": "lianxin"}
            rule = {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
            if m.get("subjects", [lianxin]) != [lianxin] or m.get("rules", [rule]) != [rule]:
                yield f"{m['kind']} {plain(m)} gives more"
        elif m["kind"] != "Namespace" and m["metadata"].get("namespace") != "lianxin":
            yield f"{m['kind']} {plain(m)}"


CHECKS: tuple[Check, ...] = (
    absent, selectors, ports, stops, privileges, references, images, namespaces,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_agree_with_one_another_and_with_the_code(overlay: str, check: Check) -> None:
    assert list(check(Manifests.of(overlay), overlay)) == []


def drop(manifests: Manifests, kind: str, name: str) -> None:
    manifests.remove(manifests.one(kind, name))


def _pod(manifests: Manifests, service: str) -> Manifest:
    spec: Manifest = manifests.pod(service)["spec"]
    return spec


FAULTS: dict[str, tuple[Check, Callable[[Manifests], object]]] = {
    "PodDisruptionBudget notify": (absent, lambda m: drop(m, "PodDisruptionBudget", "notify")),
    "notify is scaled by []": (absent, lambda m: drop(m, "HorizontalPodAutoscaler", "notify")),
    "Service reports selects [('reports', 'migrate'), ('reports', 'service')]": (
        selectors,
        lambda m: m.one("Service", "reports")["spec"]["selector"].pop(COMPONENT),
    ),
    "PodDisruptionBudget reports selects [('notify', 'service')]": (
        selectors,
        lambda m: m.one("PodDisruptionBudget", "reports")["spec"]["selector"].update(
            {"matchLabels": {NAME: "notify", COMPONENT: "service"}}
        ),
    ),
    "reports listens at {'http': 8080}": (
        ports,
        lambda m: _pod(m, "reports")["containers"][0]["ports"][0].update(containerPort=8080),
    ),
    "reports's readiness asks {'path': '/health', 'port': 'http'}": (
        ports,
        lambda m: _pod(m, "reports")["containers"][0]["readinessProbe"]["httpGet"].update(
            path="/health"
        ),
    ),
    "Service interop-mllp leads to 2575": (
        ports,
        lambda m: m.one("Service", "interop-mllp")["spec"]["ports"][0].update(targetPort=2575),
    ),
    "reports is killed after 30 s": (
        stops,
        lambda m: _pod(m, "reports").update(terminationGracePeriodSeconds=30),
    ),
    "reports is missed while it is updated": (
        stops,
        lambda m: m.one("Deployment", "reports")["spec"]["strategy"]["rollingUpdate"].update(
            maxUnavailable=1
        ),
    ),
    "service reports has privileges": (
        privileges,
        lambda m: _pod(m, "reports")["containers"][0]["securityContext"].update(
            readOnlyRootFilesystem=False
        ),
    ),
    "service reports has a token": (
        privileges,
        lambda m: _pod(m, "reports").update(automountServiceAccountToken=True),
    ),
    "service reports writes to policies-clinical": (
        privileges,
        lambda m: next(
            mount
            for mount in _pod(m, "reports")["containers"][0]["volumeMounts"]
            if mount["name"] == "policies-clinical"
        ).pop("readOnly"),
    ),
    "service reports: lianxin": (
        references,
        lambda m: _pod(m, "reports")["containers"][0]["envFrom"][0]["configMapRef"].update(
            name="lianxin"
        ),
    ),
    "service reports is told notify-kafka": (
        references,
        lambda m: _pod(m, "reports")["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"].update(
            name="notify-kafka"
        ),
    ),
    "Service reports": (
        namespaces,
        lambda m: m.one("Service", "reports")["metadata"].pop("namespace"),
    ),
    "service reports is registry.hospital.example/lianxin/reports:latest": (
        images,
        lambda m: _pod(m, "reports")["containers"][0].update(
            image="registry.hospital.example/lianxin/reports:latest"
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_planted_is_found(fault: str) -> None:
    check, plant = FAULTS[fault]
    faulty = Manifests.of("hospital")
    plant(faulty)
    assert fault in list(check(faulty, "hospital"))


def test_every_policy_is_mounted() -> None:
    listed = yaml.safe_load((ROOT / "policies" / "kustomization.yml").read_text())
    named = {
        (made["name"], file) for made in listed["configMapGenerator"] for file in made["files"]
    }
    there = {
        (f"policies-{file.parent.name}", f"{file.parent.name}/{file.name}")
        for file in (ROOT / "policies").glob("*/*.yaml")
    }
    assert named == there
    folders = {name.removeprefix("policies-") for name, _ in there}
    for overlay in INSTALLATIONS:
        for name in (*SERVICES, "cli"):
            deployment = Manifests.of(overlay).one("Deployment", name)
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            mounted = {
                m["mountPath"].removeprefix("/app/policies/"): m["name"]
                for m in container["volumeMounts"]
                if m["mountPath"].startswith("/app/policies/")
            }
            assert mounted == {folder: f"policies-{folder}" for folder in folders}


def test_the_brokers_address_is_one_that_keda_finds_from_its_own_namespace() -> None:
    """It reads the variable of the service's container, and resolves it where it runs itself."""
    manifests = Manifests.of("region")
    for scaled in manifests.kind("ScaledObject"):
        variable = scaled["spec"]["triggers"][0]["metadata"]["bootstrapServersFromEnv"]
        server = manifests.environment(plain(scaled))[variable] or ""
        assert ".lianxin.svc:" in server


def test_the_command_line_asks_each_replica_at_its_own_address() -> None:
    manifests = Manifests.of("hospital")
    (container,) = manifests.one("Deployment", "cli")["spec"]["template"]["spec"]["containers"]
    (asked,) = (e["value"] for e in container["env"] if e["name"] == "LIANXIN_URL")
    for service, port in SERVICES.items():
        host, _, at = (
            asked.format(service=service, port=port).removeprefix("http://").partition(":")
        )
        spec = manifests.one("Service", host)["spec"]
        assert at == str(port), "a headless Service maps no ports"
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_of_ours_has_a_name_that_an_operator_gives(overlay: str) -> None:
    """What Strimzi and MongoDB's operator make begins with the cluster's name and a dash."""
    given = ("lianxin-kafka-", "lianxin-mongodb-")
    assert [n for m in Manifests.of(overlay) if (n := plain(m)).startswith(given)] == []


def test_the_autoscalers_that_keda_takes_the_place_of_go_by_the_runbook_s_label() -> None:
    """An apply deletes nothing, and KEDA refuses what an HPA of ours scales."""
    runbook = " ".join((ROOT / "docs" / "runbook.md").read_text("utf-8").split())
    (label,) = re.findall(r"`kubectl delete hpa -l (\S+)`", runbook)
    name, _, value = label.partition("=")
    scaled = list(Manifests.of("hospital").kind("HorizontalPodAutoscaler"))
    assert [m["metadata"]["labels"][name] for m in scaled] == [value] * len(SERVICES)
