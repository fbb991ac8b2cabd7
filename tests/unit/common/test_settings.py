"""Do settings that don't go together say so at the start, by the names of their variables?"""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest
from pydantic import ValidationError

from libs.common.broker import Broker
from libs.common.settings import Settings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_USERNAME and KAFKA_PASSWORD"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "x"},
            "needs KAFKA_USERNAME and KAFKA_PASSWORD",
        ),
        ({"KAFKA_USERNAME": "x"}, "KAFKA_USERNAME needs KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({"KAFKA_CA": __file__}, "need KAFKA_SECURITY_PROTOCOL=SASL_SSL or SSL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_KEY": __file__}, "KAFKA_KEY needs KAFKA_CERT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CA": "/none"}, "KAFKA_CA names /none"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "kafka_security_protocol"),
        ({"MONGO_USERNAME": "x"}, "MONGO_USERNAME and MONGO_PASSWORD need each other"),
        ({"MONGO_CA": __file__}, "MONGO_CA needs MONGO_TLS=on"),
        ({"MONGO_TLS": "on", "MONGO_CERT": "/none"}, "MONGO_CERT names /none"),
        ({"OIDC_CA": "/none"}, "OIDC_CA names /none"),
    ],
)
def test_what_does_not_go_together_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        given(monkeypatch, **variables)


def test_a_password_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(
        monkeypatch,
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_USERNAME="lianxin",
        KAFKA_PASSWORD="kafka-secret",
        MONGO_USERNAME="lianxin",
        MONGO_PASSWORD="mongo-secret",
    )
    assert "secret" not in f"{settings!r} {settings} {settings.broker!r}"
    assert settings.broker.options()["sasl_plain_password"] == "kafka-secret"
    assert settings.mongo_credentials["password"] == "mongo-secret"


def test_a_password_is_in_no_complaint_about_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a service that can't start writes into its log.
    with pytest.raises(ValidationError, match="needs KAFKA_USERNAME") as complaint:
        given(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL", MONGO_PASSWORD="mongo-secret")
    assert "secret" not in str(complaint.value)


def test_a_plain_address_is_all_that_is_needed_on_one_machine() -> None:
    assert Broker("127.0.0.1:9092").options() == {"bootstrap_servers": "127.0.0.1:9092"}
    assert Settings().mongo_credentials == {}


def test_a_certificate_is_read_anew_for_each_client(tmp_path: Path) -> None:
    broker = Broker("127.0.0.1:9092", "SSL", ca=tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError):
        broker.options()
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())
    assert broker.options()["ssl_context"].cert_store_stats()["x509_ca"] > 1
