"""Does a command find the installation that the environment names?"""

from __future__ import annotations

import pytest

from lianxin import installation
from lianxin.installation import SERVICES, CommandSettings, Installation
from lianxin.output import Failed
from libs.common.devstack.places import SERVICES as ON_THIS_MACHINE


def test_without_settings_it_is_the_platform_of_make_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_PORT", "27018")
    monkeypatch.setenv("NOTIFY_PORT", "9005")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("MONGO_URL", raising=False)
    here = Installation.of_environment()
    assert here.broker.servers == "127.0.0.1:9092"
    assert here.settings.mongo_url == "mongodb://127.0.0.1:27018/?replicaSet=secantus"
    assert here.url("notify") == "http://127.0.0.1:9005"
    assert here.url("enrollment") == "http://127.0.0.1:8001"
    assert here.trace_url("abc") == "http://127.0.0.1:8000/traces/abc"


def test_an_installation_has_the_services_names_and_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("MONGO_URL", "mongodb://mongo/?replicaSet=rs0")
    there = Installation.of_environment()
    assert there.broker.servers == "kafka:9092"
    assert there.url("interop") == "http://interop:8006"
    assert there.group("notify") == "lianxin.notify"
    assert there.trace_url("abc") is None


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(Failed, match="needs KAFKA_USERNAME and"):
        Installation.of_environment()


def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match="KAFKA_PORT is 'x'"):
        Installation.of_environment({"KAFKA_PORT": "x"})


def test_every_service_is_known_with_its_topics_in_the_registry() -> None:
    here = Installation.of_environment({})
    assert set(SERVICES) == set(ON_THIS_MACHINE)
    for service in SERVICES:
        assert set(here.spec(service).topics) <= set(here.topics)
    with pytest.raises(Failed, match="no service 'nosuch'"):
        here.service("nosuch")


@pytest.mark.parametrize(
    ("url", "found", "asked"),
    [
        ("http://{service}-replicas:{port}", ["10.0.0.1", "10.0.0.2"],
         ["http://10.0.0.1:8006", "http://10.0.0.2:8006"]),
        ("http://{service}", ["[fd00::1]", "[fd00::2]"], ["http://[fd00::1]", "http://[fd00::2]"]),
        ("http://{service}", ["10.0.0.1"], ["http://interop"]),
        ("http://{service}", [], ["http://interop"]),
        ("https://{service}.example", ["10.0.0.1", "10.0.0.2"], ["https://interop.example"]),
        ("", ["10.0.0.1"], []),
    ],
)  # fmt: skip
async def test_each_address_of_a_name_is_a_replica(
    url: str, found: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(_host: str) -> list[str]:
        return found

    monkeypatch.setattr(installation, "addresses", addresses)
    here = Installation(
        CommandSettings(
            environment="development",
            kafka_bootstrap_servers="away:9092",
            mongo_url="mongodb://away",
            lianxin_url=url,
        )
    )
    assert await here.replicas("interop") == asked


async def test_addresses_are_of_one_family() -> None:
    assert await installation.addresses("localhost") in (["127.0.0.1"], ["[::1]"])
    assert await installation.addresses("127.0.0.1") == ["127.0.0.1"]
    assert await installation.addresses("no-such-name.invalid") == []
