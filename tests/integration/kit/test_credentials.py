"""Is a credential as the partner kit describes it enough, and is it good for nothing else?

A broker with TLS, SCRAM and ACLs, as an installation has it; the kit's programs as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.common import topic_registry
from libs.common.devstack import topics
from libs.common.kafka.rights import of_partner
from scripts import conformance
from scripts.sandbox import fill
from tests.integration.kit.programs import KIT, environment, first_line, of, run
from tests.support import secured
from tests.support.examples import FOLDER

WRITES = "hospital.encounters"
READS = ("enrollment.events", "hospital.encounters")
DISCHARGE = FOLDER / "hospital.encounter.discharged.v1" / "child.json"
ISSUED = FOLDER / "hospital.invitation.issued.v1" / "guardian.json"


@dataclass(frozen=True)
class Installation:
    """A broker that only lets in whom it knows, and what `his` was given."""

    #: For the operators, on a port of their own.
    inside: str
    outside: str
    password: str
    ca: Path
    properties: Path

    def of(self, language: str, password: str | None = None) -> dict[str, str]:
        """The environment of one of the kit's programs."""
        if language == "java":
            return environment(
                KAFKA_BOOTSTRAP_SERVERS=self.outside, KAFKA_PROPERTIES=str(self.properties)
            )
        return environment(
            KAFKA_BOOTSTRAP_SERVERS=self.outside,
            KAFKA_SECURITY_PROTOCOL="SASL_SSL",
            KAFKA_CA=str(self.ca),
            KAFKA_USERNAME="his",
            KAFKA_PASSWORD=password or self.password,
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, classes: Path) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("secure")
    with secured.broker(folder) as at:
        topics.create(at.inside)
        fill(at.inside, "sandbox", all_topics=True)
        rights = of_partner("his", [WRITES], READS, topic_registry.read())
        password = secured.grant(at, classes, {"his": rights})["his"].password
        properties = folder / "client.properties"
        text = (KIT / "java" / "client.properties").read_text("utf-8")
        text = text.replace("CHANGE-ME", password).replace("/etc/lianxin/ca.pem", str(at.ca))
        properties.write_text(text, "utf-8")
        yield Installation(at.inside, at.outside, password, at.ca, properties)


@pytest.fixture(params=["java", "python"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def produce(
    at: Installation, classes: Path, language: str, topic: str, body: Path
) -> tuple[int, str, str]:
    command = of(language, classes)(
        "Producer", topic, f"{body.parent.name}", "h1", "p-200870", str(body)
    )
    return await run(command, at.of(language), at.ca.parent)


async def test_it_may_write_what_it_is_the_source_of_and_nothing_else(
    installation: Installation, classes: Path, language: str
) -> None:
    code, out, err = await produce(installation, classes, language, WRITES, DISCHARGE)
    assert (code, out.split()[0]) == (0, WRITES), err
    code, out, err = await produce(installation, classes, language, "enrollment.events", ISSUED)
    assert (code == 0, out) == (False, "")
    assert "TopicAuthorization" in err


async def test_it_may_read_what_it_was_granted_in_groups_of_its_own_name(
    installation: Installation, classes: Path, language: str
) -> None:
    env, cwd = installation.of(language), installation.ca.parent
    consumer = of(language, classes)
    command = consumer("Consumer", f"his.{language}", "enrollment.events")
    assert await first_line(command, env, cwd, " sandbox ")
    code, out, err = await run(consumer("Consumer", "lis.x", "enrollment.events"), env, cwd)
    assert (code == 0, out) == (False, "")
    assert "GroupAuthorization" in err
    code, out, err = await run(consumer("Consumer", "his.x", "notify.requests"), env, cwd)
    assert (code == 0, out) == (False, "")
    assert "TopicAuthorization" in err


def judged(env: Mapping[str, str], at: Installation, topic: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return conformance.main([topic, "--bootstrap", at.outside])


def test_with_it_one_may_judge_what_one_wrote(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    env = installation.of("python")
    assert judged(env, installation, WRITES) == 0
    assert "0 of them wrong" in capsys.readouterr().out
    assert judged(env, installation, "notify.requests") == 2
    assert "no right to read it" in capsys.readouterr().err
    assert judged(installation.of("python", "wrong"), installation, WRITES) == 2
    said = capsys.readouterr().err
    assert "can't be read" in said and "KAFKA_ variables" in said
