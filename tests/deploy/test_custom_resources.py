"""Do the Gateway's and KEDA's resources have only fields that those have?

No package that is installed here brings their schemas, so this is what their reference pages name,
as far as the manifests use it; the API server of a cluster says the rest (docs/verification.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.manifests import OVERLAYS, Manifests

#: Names of fields; under each what it holds: more of them, a type, or the values that it may have.
Fields = Mapping[str, Any]

PARENT = {"name": str, "sectionName": str}
SCALING = {
    "policies": {"type": {"Pods", "Percent"}, "value": int, "periodSeconds": int},
    "stabilizationWindowSeconds": int,
}
#: gateway-api.sigs.k8s.io/reference/spec (v1), keda.sh/docs/2.20 (v1alpha1)
RESOURCES: Mapping[tuple[str, str], Fields] = {
    ("gateway.networking.k8s.io/v1", "Gateway"): {
        "gatewayClassName": str,
        "listeners": {
            "name": str,
            "hostname": str,
            "port": int,
            "protocol": {"HTTP", "HTTPS"},
            "tls": {"mode": {"Terminate"}, "certificateRefs": {"name": str}},
            "allowedRoutes": {"namespaces": {"from": {"Same"}}},
        },
    },
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "parentRefs": PARENT,
        "hostnames": str,
        "rules": {
            "matches": {"path": {"type": {"Exact", "PathPrefix"}, "value": str}},
            "backendRefs": {"name": str, "port": int},
            "timeouts": {"request": {"0s"}},
            "filters": {
                "type": {"RequestRedirect"},
                "requestRedirect": {"scheme": {"https"}, "statusCode": {301}},
            },
        },
    },
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef": {"name": str},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {"scaleUp": SCALING, "scaleDown": SCALING}
            }
        },
        "triggers": {
            "type": {"kafka", "cpu"},
            "metricType": {"Utilization"},
            "authenticationRef": {"name": {"kafka"}},
            "metadata": {  # values are strings, whatever they say
                "bootstrapServersFromEnv": str,
                "consumerGroup": str,
                "lagThreshold": str,
                "offsetResetPolicy": {"earliest", "latest"},
                "sasl": {"scram_sha512", "scram_sha256", "plaintext"},
                "tls": {"enable", "disable"},
                "value": str,
            },
        },
    },
    ("keda.sh/v1alpha1", "TriggerAuthentication"): {
        "env": {"parameter": str, "name": str, "containerName": str},
        "secretTargetRef": {"parameter": str, "name": str, "key": str},
    },
}


def unfit(value: Any, fields: Any, at: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from unfit(item, fields, at)
    elif isinstance(fields, set):
        if value not in fields:
            yield f"{at}: {value}"
    elif isinstance(fields, type):
        if type(value) is not fields:
            yield f"{at} is no {fields.__name__}"
    elif not isinstance(value, dict):
        yield f"{at}: {value}"
    else:
        for name, held in value.items():
            if name in fields:
                yield from unfit(held, fields[name], f"{at}.{name}")
            else:
                yield f"{at}.{name}"


def wrong(manifests: Manifests) -> list[str]:
    return [
        f"{m['kind']} {m['metadata']['name']}: {found}"
        for m in manifests
        if (fields := RESOURCES.get((m["apiVersion"], m["kind"]))) is not None
        for found in unfit(m["spec"], fields, "spec")
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_resources_have_fields_that_there_are(overlay: str) -> None:
    assert wrong(Manifests.of(overlay)) == []


def test_all_of_them_are_looked_at() -> None:
    kinds = {(m["apiVersion"], m["kind"]) for o in OVERLAYS for m in Manifests.of(o)}
    assert kinds >= set(RESOURCES)
    ours = {"gateway.networking.k8s.io", "keda.sh"}
    assert {k for k in kinds if k[0].partition("/")[0] in ours} == set(RESOURCES)


def test_each_service_is_scaled_by_its_own_group() -> None:
    for scaled in Manifests.of("region").kind("ScaledObject"):
        name, (kafka, cpu) = scaled["metadata"]["name"], scaled["spec"]["triggers"]
        assert scaled["spec"]["scaleTargetRef"] == {"name": name}
        assert kafka["metadata"]["consumerGroup"] == f"lianxin.{name}"
        assert cpu["type"] == "cpu"


def test_a_field_that_is_misspelt_and_a_number_that_must_be_a_string_are_found() -> None:
    faulty = Manifests.of("region")
    faulty.one("HTTPRoute", "notify")["spec"]["hostname"] = "notify.hospital.example"
    (trigger, _) = faulty.one("ScaledObject", "notify")["spec"]["triggers"]
    trigger["metadata"]["lagThreshold"] = 1000
    assert wrong(faulty) == [
        "HTTPRoute notify: spec.hostname",
        "ScaledObject notify: spec.triggers.metadata.lagThreshold is no str",
    ]
