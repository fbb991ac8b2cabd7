"""Comes every Secret that something needs from somewhere, and is none of them in git?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.components import pods, rendered, secrets_of
from tests.support.manifests import INSTALLATIONS, Manifests

#: What operators and cert-manager make, and what they put in.
MADE = {
    "lianxin-kafka-cluster-ca-cert": {"ca.crt"},
    "mongodb-ca": {"ca.crt"},
}
#: What cert-manager, or the hospital's own authority, makes of components/mllp.
MADE |= {"interop-mllp-tls": {"tls.crt", "tls.key", "ca.crt"}}


def brought(manifests: Manifests) -> dict[str, set[str] | None]:
    """Each Secret that an ExternalSecret makes, with its keys; ``None``: whatever there is."""
    return {
        m["spec"]["target"]["name"]: (
            None if "dataFrom" in m["spec"] else {d["secretKey"] for d in m["spec"]["data"]}
        )
        for m in manifests.kind("ExternalSecret")
    }


def needed(manifests: Manifests) -> Iterator[tuple[str, str, str | None]]:
    """Who needs which key of which Secret."""
    for name, pod in pods(manifests):
        yield from ((name, *found) for found in secrets_of(pod))
    for user in manifests.kind("KafkaUser"):
        given = user["spec"]["authentication"].get("password")
        if given:
            ref = given["valueFrom"]["secretKeyRef"]
            yield user["metadata"]["name"], ref["name"], ref["key"]
    for database in manifests.kind("MongoDBCommunity"):
        refs = [user["passwordSecretRef"] for user in database["spec"]["users"]]
        refs += [database["spec"]["prometheus"]["passwordSecretRef"]]
        yield from (("mongodb", ref["name"], ref.get("key", "password")) for ref in refs)


def missing(manifests: Manifests) -> list[str]:
    there = MADE | brought(manifests)
    found = []
    for who, name, key in needed(manifests):
        keys = there.get(name, set())
        if keys is not None and (not keys or (key is not None and key not in keys)):
            found.append(f"{who}: {name}/{key}")
    return found


@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_every_secret_that_is_needed_is_brought(overlay: str) -> None:
    assert missing(Manifests.of(overlay)) == []


@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_no_secret_is_brought_that_nobody_needs(overlay: str) -> None:
    manifests = Manifests.of(overlay)
    wanted = {name for _, name, _ in needed(manifests)}
    # The command line's pod is started by hand.
    optional = {"cli-kafka", "cli-mongodb", "notify-smtp", "notify-webhooks", "mongodb-metrics"}
    assert brought(manifests).keys() - wanted <= optional


def test_a_secret_that_nobody_brings_would_be_seen() -> None:
    manifests = Manifests.of("hospital")
    gone = manifests.one("ExternalSecret", "notify-mongodb")
    manifests.remove(gone)
    assert {"notify: notify-mongodb/password", "mongodb: notify-mongodb/password"} <= {
        *missing(manifests)
    }
    (first, _) = manifests.one("ExternalSecret", "reports-mongodb")["spec"]["data"]
    first["secretKey"] = "user"
    assert "reports: reports-mongodb/username" in missing(manifests)


@pytest.mark.parametrize("overlay", [*INSTALLATIONS, "dev"])
def test_no_secret_is_in_git(overlay: str) -> None:
    assert list(Manifests.of(overlay).kind("Secret")) == []


@pytest.mark.parametrize(
    ("component", "secret", "setting"),
    [
        ("external-kafka", "lianxin-kafka-cluster-ca-cert", "KAFKA_BOOTSTRAP_SERVERS"),
        ("external-mongodb", "mongodb-ca", "MONGO_URL"),
    ],
)
def test_a_hospital_s_own_part_takes_the_place_of_ours_by_settings(
    component: str, secret: str, setting: str
) -> None:
    with_own = rendered(component, base=True)
    assert brought(with_own)[secret] == {"ca.crt"}
    ours = Manifests.of("hospital").config("lianxin")[setting]
    assert with_own.config("lianxin")[setting] not in ("", ours)
    policies = {m["metadata"]["name"] for m in with_own.kind("NetworkPolicy")}
    assert f"to-{component}" in policies
