"""Does sealed data open at its place with its key, nowhere else and with nothing else?"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common import envelope
from libs.common.cipher import CantOpen, KeyMissing, Place
from libs.common.clock import SystemClock
from libs.common.envelope import Envelope, KeyFolder, key_of
from libs.common.settings import Settings

PLACE = Place("patients", "h1/p1", "name")


class Waiting(SystemClock):
    """Moves when told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def key(folder: Path, name: str, *, active: bool = True) -> None:
    text = base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / f"{name}.key").write_text(text + "\n")
    if active:
        (folder / "active").write_text(name + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key(tmp_path, "k1")
    return tmp_path


@given(plain=st.binary(max_size=2048), id=st.text(max_size=40))
def test_what_was_sealed_opens_in_another_process(
    tmp_path_factory: pytest.TempPathFactory, plain: bytes, id: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "active").exists():
        key(folder, "k1")
    place = PLACE._replace(id=f"h1/{id}")
    sealed = Envelope(KeyFolder(folder)).seal(place, plain)
    assert Envelope(KeyFolder(folder)).open(place, sealed) == plain
    assert len(plain) < 8 or plain not in sealed


@pytest.mark.parametrize(
    "other",
    [
        Place("patients", "h1/p2", "name"),
        Place("patients", "h2/p1", "name"),
        Place("patients", "h1/p1", "phone"),
        Place("links", "h1/p1", "name"),
    ],
)
def test_a_value_that_was_moved_does_not_open(folder: Path, other: Place) -> None:
    cipher = Envelope(KeyFolder(folder))
    with pytest.raises(CantOpen):
        cipher.open(other, cipher.seal(PLACE, b"x"))


def test_of_a_changed_byte_nothing_opens(folder: Path) -> None:
    cipher = Envelope(KeyFolder(folder))
    sealed = cipher.seal(PLACE, b"somebody")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises((CantOpen, KeyMissing)):
            cipher.open(PLACE, bytes(changed))
    for end in range(len(sealed)):
        with pytest.raises((CantOpen, KeyMissing)):
            cipher.open(PLACE, sealed[:end])


def test_the_same_value_is_never_sealed_alike(folder: Path) -> None:
    cipher = Envelope(KeyFolder(folder))
    assert len({cipher.seal(PLACE, b"x") for _ in range(100)}) == 100


def test_a_key_is_replaced_while_others_still_seal_with_the_old_one(folder: Path) -> None:
    clock = Waiting()
    mine, theirs = (Envelope(KeyFolder(folder), clock=clock) for _ in range(2))
    before = mine.seal(PLACE, b"before")
    key(folder, "k2")
    clock.seconds = 6.0
    after = mine.seal(PLACE, b"after")
    assert b"k1" in before and b"k2" in after
    assert theirs.open(PLACE, after) == b"after", "who has not looked yet reads it all the same"
    assert (key_of(before), key_of(after), mine.active) == ("k1", "k2", "k2")
    assert key_of(b"plain") == key_of({"plain": 1}) == ""
    (folder / "k1.key").unlink()
    assert mine.open(PLACE, before) == b"before", "a key that was read stays until the end"
    with pytest.raises(KeyMissing, match="k1"):
        Envelope(KeyFolder(folder)).open(PLACE, before)


def test_another_key_of_that_name_opens_nothing(folder: Path) -> None:
    sealed = Envelope(KeyFolder(folder)).seal(PLACE, b"x")
    key(folder, "k1")
    with pytest.raises(CantOpen):
        Envelope(KeyFolder(folder)).open(PLACE, sealed)


def test_what_was_not_sealed_is_taken_only_while_an_installation_begins(folder: Path) -> None:
    assert Envelope(KeyFolder(folder), takes_plain=True).open(PLACE, b"{}") == b"{}"
    with pytest.raises(CantOpen, match="not sealed"):
        Envelope(KeyFolder(folder)).open(PLACE, b"{}")


def test_a_data_key_is_renewed_before_its_nonces_may_meet(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "_SEALS_PER_KEY", 3)
    cipher = Envelope(KeyFolder(folder))
    heads = [cipher.seal(PLACE, b"")[:46] for _ in range(9)]
    assert [len(set(heads[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 1]
    assert len(set(heads)) == 3


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "active"),
        ({"active": "k9"}, "k9"),
        ({"active": "../k1"}, r"\.\./k1"),
        ({"active": "k9", "k9.key": "c2hvcnQ="}, "k9.key must hold 32 bytes"),
        ({"active": "k9", "k9.key": "no base64!"}, "k9.key must hold 32 bytes"),
    ],
)
def test_keys_that_can_not_be_used_are_named_at_the_start(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"CIPHER_KEYS_DIR can't be used: .*{said}"):
        envelope.of(Settings(cipher_keys_dir=tmp_path))


def test_without_keys_nothing_is_sealed() -> None:
    assert envelope.of(Settings(cipher_keys_dir=None)) is None
