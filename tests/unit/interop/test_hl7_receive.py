"""Whose message is it, and is there an answer whatever is wrong with it, or with us?"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.interop.domain.receipt import Received
from services.interop.edge.hl7 import receive
from services.interop.edge.hl7.ack import Code, acknowledge
from services.interop.edge.hl7.header import read_header
from services.interop.edge.hl7.profiles import PolicyError
from services.interop.edge.hl7.receive import Senders
from services.interop.main import load_policy
from services.interop.settings import Settings
from tests.unit.interop.hl7_given import CORPUS, NOW, SENDERS, ZONE, adult_age, profile, raw

A03 = (CORPUS / "adt-a03-adult.hl7").read_bytes()
assert A03.count(b"|P|2.") == 1
FINGERPRINT = "SHA256:" + ":".join(["AB"] * 32)


def senders(default: dict[str, Any] | None = None, **differs: Any) -> Senders:
    """One profile, for the application HIS, beside the default."""
    own = profile(senders=[{"application": "HIS"}], **differs)
    return Senders([own], profile(**(default or {})), ZONE, adult_age)


def places(found: Received) -> list[tuple[str, int, str]]:
    return [(f.segment, f.field, f.code) for f in found.faults]


# -- training and debugging -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "telling"), [("production", {"", "P"}), ("sandbox", {"", "P", "D", "T"})]
)
def test_training_tells_only_where_the_senders_profile_is_a_sandboxs(
    mode: str, telling: set[str]
) -> None:
    told = {
        id
        for id in ("", "P", "D", "T")
        if senders(mode=mode).received(A03.replace(b"|P|2.", f"|{id}|2.".encode(), 1), NOW)
        .production
    }  # fmt: skip
    assert told == telling


# -- certificates ---------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["HIS.example", FINGERPRINT])
@pytest.mark.parametrize("shown", ["his.example", "sha256:" + "ab" * 32])
def test_messages_of_a_certified_sender_come_from_it_alone(named: str, shown: str) -> None:
    by = senders(certificates=["other.example", named])
    right = (named == FINGERPRINT) == shown.startswith("sha256:")
    found = by.received(A03, NOW, frozenset({shown, "localhost"}))
    assert places(found) == ([] if right else [("MSH", 3, "204")])
    assert found.certificate == {shown, "localhost"}
    assert places(by.received(A03, NOW)) == [("MSH", 3, "204")], "nor from who shows none"


def test_who_names_no_certificates_is_believed_on_any_connection() -> None:
    assert places(senders().received(A03, NOW)) == []
    assert not senders().certified


def test_certificates_of_the_default_hold_for_whoever_has_no_profile() -> None:
    by = senders({"certificates": ["engine.example"]})
    other = A03.replace(b"|HIS|", b"|LIS|", 1)
    assert other != A03 and by.certified
    assert places(by.received(other, NOW)) == [("MSH", 3, "204")]
    assert places(by.received(other, NOW, frozenset({"engine.example"}))) == []


def test_a_service_whose_senders_cannot_show_the_certificates_they_need_does_not_start(
    tmp_path: Path,
) -> None:
    for folder in ("persons", "senders", "partners"):
        shutil.copytree(SENDERS.parent / folder, tmp_path / folder)
    (tmp_path / "senders" / "his.yaml").write_text(
        "name: his\nsenders: [{ application: H }]\ncertificates: [his.example]\n"
    )
    with pytest.raises(PolicyError, match="MLLP_TLS_CLIENT_CA"):
        load_policy(Settings(policies_dir=tmp_path))
    trusting = Settings(policies_dir=tmp_path, mllp_tls_client_ca=tmp_path / "ca.pem")
    assert load_policy(trusting).senders.certified
    assert load_policy(Settings(policies_dir=tmp_path, mllp_port=0)).senders.certified


# -- batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["FHS", "BHS"])
def test_a_batch_is_refused_with_what_to_do_instead(around: str) -> None:
    sent = f"{around}|^~\\&|HIS|LX\r".encode() + A03 + b"\rBTS|1\r"
    found = senders().received(sent, NOW)
    assert places(found) == [(around, 0, "100")]
    assert "in a frame of its own" in found.faults[0].text
    answer = acknowledge(read_header(sent), Code.AR, "1", NOW, found.faults).decode()
    assert f"\rERR||{around}^1|100^Segment sequence error" in answer


def test_two_messages_in_a_frame_are_refused_with_what_to_do_instead() -> None:
    found = senders().received(A03 + b"\r" + A03, NOW)
    assert places(found) == [("MSH", 0, "100")]
    assert "in a frame of its own" in found.faults[0].text


# -- our own bugs ---------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["parse", "map_message"])
def test_a_bug_of_ours_is_an_answer_to_its_message_and_quotes_nothing_of_it(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object) -> None:
        raise KeyError("样例")

    monkeypatch.setattr(receive, broken, raises)
    with capture_logs() as logs:
        found = senders().received(A03, NOW)
    assert places(found) == [("MSH", 0, "207")]
    assert found.control_id == ("" if broken == "parse" else "A0301")
    assert [entry["event"] for entry in logs] == ["message_not_mapped"]
    assert "样例" not in str([{**entry, "exc_info": None} for entry in logs])


def test_a_message_without_a_control_id_is_refused() -> None:
    without = raw("ADT^A08", "PID|1||7").replace(b"|1|P|", b"||P|", 1)
    assert places(senders().received(without, NOW)) == [("MSH", 10, "101")]
