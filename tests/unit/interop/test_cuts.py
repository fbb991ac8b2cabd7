"""Does a message with long parts stay small, and does it come back byte for byte?"""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.interop.edge.cuts import LONG, MOST_IN_PLACE, Parts, cut, joined, kept

SCAN = bytes(range(256)) * (LONG // 128)
TEXT = b64encode(SCAN)


def back(parts: Parts) -> bytes:
    contents = {digest: piece.content for digest, piece in parts.pieces.items()}
    return joined(parts.rest, parts.cuts, contents)


def test_what_is_short_stays_where_it_is() -> None:
    raw = b"MSH|" + b64encode(b"x" * 40_000) + b"|"
    assert cut(raw) == Parts(raw)


def test_long_base64_is_kept_as_what_it_encodes_and_comes_back_as_it_was() -> None:
    raw = b"OBX|1|ED|a||^^^Base64^" + TEXT + b"|F\rOBX|2|ED|b||^^^Base64^" + TEXT + b"\r"
    parts = cut(raw)
    assert len(parts.rest) < 300 and back(parts) == raw
    assert [piece.content for piece in parts.pieces.values()] == [SCAN], "the same one, once"
    for one in parts.cuts:
        assert parts.rest[one.at : one.at + 64] == one.sha256.encode()


@pytest.mark.parametrize(
    "text", [TEXT[:-1], TEXT[1:], b"A" * (LONG + 1), b"A" * (LONG + 2) + b"==", TEXT + b"="]
)
def test_what_is_no_clean_base64_is_kept_as_text(text: bytes) -> None:
    raw = b"MSH|" + text + b"|rest"
    assert back(cut(raw)) == raw


def test_a_digest_that_stands_in_the_message_already_confuses_nothing() -> None:
    digest = cut(TEXT).cuts[0].sha256.encode()
    raw = b"MSH|" + digest + b"|" + TEXT + b"|" + digest
    assert back(cut(raw)) == raw


def test_what_is_too_long_in_other_ways_is_kept_apart_as_a_whole() -> None:
    raw = "长,".encode() * MOST_IN_PLACE + TEXT
    parts = kept(raw, cut(raw))
    assert len(parts.rest) == 64 and back(parts) == raw
    small = cut(b"MSH|" + TEXT)
    assert kept(b"MSH|" + TEXT, small) is small


@given(
    st.lists(
        st.one_of(st.binary(max_size=20), st.sampled_from([TEXT, TEXT[:-3], b"|", b"=", b"A" * 9]))
    )
)
def test_whatever_came_comes_back(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    assert back(cut(raw)) == raw
