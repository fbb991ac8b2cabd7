"""Does deploy/compose.yaml fit its schema, the code and the other files of deploy/?"""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from typing import Any

import pytest
import yaml

from libs.common import topic_registry
from libs.common.devstack.places import ROOT, SERVICES
from libs.common.settings import Settings
from tests.support.manifests import TOOLS

COMPOSE = ROOT / "deploy" / "compose.yaml"
PROJECT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
PARTS: dict[str, Any] = PROJECT["services"]


def test_it_fits_the_compose_specification() -> None:
    program = str(TOOLS / "check-jsonschema")
    command = [program, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", [*SERVICES, "migrate"])
def test_a_service_is_told_what_it_knows_and_starts_with_it(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = PARTS[service]["environment"]
    settings: type[Settings] = Settings
    if service in SERVICES:
        settings = import_module(f"services.{service}.main").SPEC.settings
    assert [name for name in told if name.lower() not in settings.model_fields] == []
    for name in settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    made = settings()
    assert made.kafka_bootstrap_servers == "kafka:9092"
    assert made.otel_exporter_otlp_endpoint == "http://otel-collector:4318"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_built_from_the_dockerfile_and_reached_at_its_port(service: str) -> None:
    part = PARTS[service]
    assert part["build"]["args"] == {"SERVICE": service}
    assert (COMPOSE.parent / part["build"]["context"] / part["build"]["dockerfile"]).is_file()
    assert part["environment"]["HTTP_PORT"] == str(SERVICES[service])
    assert f"127.0.0.1:{SERVICES[service]}:{SERVICES[service]}" in part["ports"]


def test_all_services_are_there_and_collections_are_made_for_each() -> None:
    assert SERVICES.keys() <= PARTS.keys()
    assert sorted(PARTS["migrate"]["command"]) == sorted(SERVICES)


def test_nothing_is_reached_from_other_machines() -> None:
    for name, part in PARTS.items():
        for port in part.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_every_image_is_of_one_version() -> None:
    for name, part in PARTS.items():
        own = re.fullmatch(r"lianxin/\w+:\$\{VERSION:-dev\}", part["image"])
        assert own or re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", part["image"]), name


def test_what_is_mounted_is_there_or_made_by_a_command() -> None:
    for name, part in PARTS.items():
        for volume in part.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (COMPOSE.parent / source).exists(), (name, source)
            elif not source.startswith(("/var/run/docker.sock", "../.data/dev-issuer")):
                assert source in PROJECT["volumes"], (name, source)


def test_a_service_is_given_the_keys_that_verify_and_never_the_one_that_signs() -> None:
    """And it may read them: the folder is its owner's alone."""
    for service in SERVICES:
        (volume,) = PARTS[service]["volumes"]
        source, target, mode = volume.split(":")
        assert (source, mode) == ("../.data/dev-issuer/jwks.json", "ro")
        assert PARTS[service]["environment"]["OIDC_JWKS_URL"] == f"file://{target}"


def test_our_containers_are_as_tight_as_the_pods() -> None:
    for name in (*SERVICES, "topics", "migrate"):
        part = PARTS[name]
        assert part["read_only"] and part["cap_drop"] == ["ALL"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name


def test_topics_are_made_with_one_copy_since_there_is_one_broker() -> None:
    command = PARTS["topics"]["command"]
    assert command[:2] == ["topics", "apply"]
    assert PARTS["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert topic_registry.read(ROOT / topic_registry.FOLDER)
