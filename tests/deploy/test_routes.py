"""Do people and partners reach what is theirs, and nothing that is the platform's own?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common.devstack.places import SERVICES
from libs.common.http.app import OWN
from tests.support.manifests import Manifest, Manifests, settings_of, spec_of


def rules(manifests: Manifests, service: str) -> Iterator[tuple[str, str, str, Manifest]]:
    """Host, path's type, path and where it leads, of HTTPRoute or Ingress."""
    for route in manifests.kind("HTTPRoute"):
        if route["metadata"]["name"] == service:
            (host,) = route["spec"]["hostnames"]
            for rule in route["spec"]["rules"]:
                for match in rule["matches"]:
                    yield host, match["path"]["type"], match["path"]["value"], rule
    for ingress in manifests.kind("Ingress"):
        for rule in ingress["spec"]["rules"]:
            if rule["host"].startswith(f"{service}."):
                for path in rule["http"]["paths"]:
                    yield rule["host"], path["pathType"], path["path"], path


def reached(path: str, kind: str, value: str) -> bool:
    """Element by element, as both APIs say."""
    if kind == "Exact":
        return path == value
    return path == value or path.startswith(f"{value}/")


def wrong(manifests: Manifests) -> list[str]:
    found = []
    for service in SERVICES:
        ours = list(rules(manifests, service))
        access = spec_of(service).access
        for _, path in access:
            if not any(reached(path, kind, value) for _, kind, value, _ in ours):
                found.append(f"{service}: {path} is not reached")
        for _, path in OWN:
            if any(reached(path, kind, value) for _, kind, value, _ in ours):
                found.append(f"{service}: {path} is open")
        for _, kind, value, _ in ours:
            if not any(reached(path, kind, value) for _, path in access):
                found.append(f"{service}: nothing is at {value}")
        for setting, told in manifests.environment(service).items():
            field = settings_of(service).model_fields.get(setting.lower())
            if field and setting.endswith(("PUBLIC_URL", "BASE_URL")):
                found += [f"{setting} is {told}" for h, *_ in ours if told != f"https://{h}"]
    return sorted(set(found))


@pytest.mark.parametrize("overlay", ["dev", "hospital", "region"])
def test_every_route_of_the_access_table_is_reached_and_no_other(overlay: str) -> None:
    assert wrong(Manifests.of(overlay)) == []


def test_a_live_stream_is_not_cut_off_by_the_gateway() -> None:
    manifests = Manifests.of("hospital")
    for service in SERVICES:
        live = any(path.endswith("/live") for _, path in spec_of(service).access)
        limits = {rule.get("timeouts", {}).get("request") for *_, rule in rules(manifests, service)}
        assert limits == ({"0s"} if live else {None}), service


def test_what_a_service_takes_the_ingress_lets_through() -> None:
    ingress = Manifests.of("dev").one("Ingress", "lianxin")
    limit = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert limit == f"{settings_of('interop').model_fields['fhir_max_body'].default >> 20}m"


def test_metrics_that_are_open_and_a_page_that_is_not_are_found() -> None:
    faulty = Manifests.of("hospital")
    (rule,) = faulty.one("HTTPRoute", "enrollment")["spec"]["rules"]
    rule["matches"] = [
        {"path": {"type": "PathPrefix", "value": value}} for value in ("/v1", "/metrics")
    ]
    assert wrong(faulty) == [
        "enrollment: /accept is not reached",
        "enrollment: /accept.css is not reached",
        "enrollment: /accept.js is not reached",
        "enrollment: /metrics is open",
        "enrollment: nothing is at /metrics",
    ]


def test_a_public_address_that_leads_nowhere_is_found() -> None:
    faulty = Manifests.of("hospital")
    faulty.config("enrollment")["PUBLIC_BASE_URL"] = "https://other.hospital.example"
    assert wrong(faulty) == ["PUBLIC_BASE_URL is https://other.hospital.example"]
