"""Are the services told what they need, and nothing that they don't know?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from libs.common.dev_issuer import refuse_development_issuer
from libs.common.devstack.places import ROOT, SERVICES
from libs.common.settings import Settings
from tests.support.manifests import INSTALLATIONS, OVERLAYS, Manifests, settings_of, spec_of
from tests.support.secured import certificate

#: Settings whose default is no value for an installation, and that may have none all the same.
OPTIONAL = {
    "KAFKA_GROUP": "lianxin.<service> is right",
    "KAFKA_CERT": "we prove who we are by SCRAM",
    "KAFKA_KEY": "the same",
    "MONGO_CERT": "the same",
    "MONGO_DATABASE": "lianxin_<service> is right",
    "OIDC_CA": "the system's authorities vouch for most providers",
    "CLINICAL_URL": "the rules of policies/clinical, where a hospital has no engine",
    "CLINICAL_CA": "with CLINICAL_URL",
    "CLINICAL_CLIENT_CERT": "with CLINICAL_URL",
    "CLINICAL_CLIENT_KEY": "with CLINICAL_URL",
    "SIGNING_KEYS_DIR": "used in development only",
    "WEBHOOK_DEFAULT_URL": "persons have webhooks of their own",
    "LIANXIN_VERSION": "the image says it",
    "MLLP_HOST": "all of the pod's addresses",
}
#: Defaults that are right on one machine only.
FOR_ONE_MACHINE = {"KAFKA_SECURITY_PROTOCOL", "MONGO_TLS"}


def without_value(settings: type[Settings]) -> Iterator[str]:
    """Settings whose default is of no use where patients are."""
    for name, field in settings.model_fields.items():
        default = field.default
        text = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
        if (
            default is None
            or text == ""
            or "127.0.0.1" in text
            or text.startswith(".data")
            or name.upper() in FOR_ONE_MACHINE
        ):
            yield name.upper()


def unknown(manifests: Manifests) -> list[str]:
    """Variables that no field of the service's settings reads."""
    return [
        f"{service}: {name}"
        for service, component, _ in manifests.pods()
        for name in manifests.environment(service, component)
        if name.lower() not in settings_of(service).model_fields
    ]


def unset(manifests: Manifests) -> list[str]:
    return [
        f"{service}: {name}"
        for service in SERVICES
        for name in without_value(settings_of(service))
        if name not in OPTIONAL and manifests.environment(service).get(name, "") == ""
    ]


def open_secrets(manifests: Manifests) -> list[str]:
    """Secret settings that stand in a manifest, and Secrets that do."""
    found = [
        f"{service}: {name}"
        for service, component, _ in manifests.pods()
        for name, value in manifests.environment(service, component).items()
        if value is not None
        and (field := settings_of(service).model_fields.get(name.lower())) is not None
        and field.annotation is SecretStr
    ]
    return found + [
        f"Secret {m['metadata']['name']}"
        for m in manifests.kind("Secret")
        if m.get("data") or m.get("stringData")
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting_of_its_service(overlay: str) -> None:
    assert unknown(Manifests.of(overlay)) == []


@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_every_setting_without_a_usable_default_is_set(overlay: str) -> None:
    assert unset(Manifests.of(overlay)) == []


def test_what_may_be_left_out_is_still_a_setting_without_a_usable_default() -> None:
    assert {n for s in SERVICES for n in without_value(settings_of(s))} >= set(OPTIONAL)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_manifest_holds_a_secret(overlay: str) -> None:
    assert open_secrets(Manifests.of(overlay)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_told_this_would_start(
    service: str, overlay: str, tmp_path: Path
) -> None:
    settings = told(Manifests.of(overlay), service, tmp_path)
    refuse_development_issuer(settings)
    spec = spec_of(service)
    spec.policy(settings)
    spec.adapters(settings)
    assert settings.environment == ("development" if overlay == "dev" else "production")


def told(manifests: Manifests, service: str, folder: Path) -> Settings:
    """The settings as the container reads them, its files in ``folder``."""
    ca, both = certificate(folder / "tls")
    files = {"ca.crt": ca, "tls.crt": both, "tls.key": both}
    values: dict[str, Any] = {}
    for name, value in manifests.environment(service).items():
        if value is None:
            value = "whsec_" + "a" * 44 if name == "WEBHOOK_SECRET" else "from a Secret"
        elif value.startswith("/run/") and (file := files.get(Path(value).name)):
            value = str(file)
        elif value.startswith("/run/"):
            value = str(folder)
        elif value == "/app/policies":
            value = str(ROOT / "policies")
        values[name.lower()] = value
    return settings_of(service)(**values)


def test_a_variable_that_nobody_reads_is_found() -> None:
    faulty = Manifests.of("hospital")
    faulty.config("lianxin")["KAFKA_BOOTSTRAP_SERVER"] = "a typing mistake"
    assert "enrollment: KAFKA_BOOTSTRAP_SERVER" in unknown(faulty)


def test_a_setting_that_was_forgotten_is_found() -> None:
    faulty = Manifests.of("hospital")
    del faulty.config("lianxin")["OIDC_ISSUER"]
    del faulty.config("interop")["INTEROP_PUBLIC_URL"]
    assert {"notify: OIDC_ISSUER", "interop: INTEROP_PUBLIC_URL"} <= set(unset(faulty))


def test_a_password_among_the_settings_is_found() -> None:
    faulty = Manifests.of("hospital")
    faulty.config("notify")["SMTP_PASSWORD"] = "open"
    faulty.append({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "open"}})
    faulty.pod("notify")["spec"]["containers"][0]["env"] = []
    assert open_secrets(faulty) == ["notify: SMTP_PASSWORD", "Secret s"]
