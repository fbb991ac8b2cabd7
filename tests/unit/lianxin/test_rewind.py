"""What must be said, so that a service reads on from the right place?"""

from __future__ import annotations

import pytest

from tests.support.command_line import lianxin

ENV = {"MONGO_URL": "mongodb://away/?replicaSet=rs0", "KAFKA_BOOTSTRAP_SERVERS": "away:9092"}


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--service", "reports"),
        ("--from", "2h"),
        ("a-folder", "--service", "reports"),
        ("a-folder", "--from", "2h"),
    ],
)
def test_it_is_either_a_backup_or_a_service_and_a_time(given: tuple[str, ...]) -> None:
    said = lianxin("backup", "rewind", *given, env={**ENV, "ENVIRONMENT": "development"})
    assert (said.code, said.err.strip()) == (
        2,
        "Give a backup's folder, or --service and --from.",
    )
