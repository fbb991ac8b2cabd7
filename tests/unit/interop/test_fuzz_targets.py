"""Do messages that go wrong as senders' do hold what ``tests/fuzz`` searches for?

A few hundred new ones each time; ``make fuzz`` searches on, led by what it has covered.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.interop.edge.cuts import LONG, cut
from services.interop.edge.frames import Broken, Frames
from services.interop.edge.hl7.ack import Code, acknowledge
from services.interop.edge.hl7.header import read_header
from tests.fuzz import targets
from tests.fuzz.mutate import mutated
from tests.fuzz.run import TARGETS
from tests.unit.interop.hl7_given import NOW


@given(st.sampled_from(targets.SEEDS), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_a_message_changed_in_its_structure_is_read_or_refused_and_answered(
    seed: bytes, random: Random
) -> None:
    sent = mutated(seed, random, targets.POOL)
    for target in targets.TARGETS.values():
        target(sent)


def test_every_target_is_searched_by_make_fuzz() -> None:
    assert tuple(targets.TARGETS) == TARGETS


# -- what a search has found ----------------------------------------------------------------


def test_long_texts_that_are_no_documents_take_time_that_grows_with_their_size() -> None:
    almost = b"A" * (LONG - 1)
    cut(b"MSH|^~\\&|" + (almost + b"|" + almost + b"=") * 100)  # the time limit is the assertion


def test_after_too_much_junk_no_message_begins_however_it_is_cut() -> None:
    sent = b"x" * 65 + b"\x0b"
    whole = Frames(64, 64)
    whole.feed(sent)
    assert (whole.broken, whole.open) == (Broken.TOO_MUCH_JUNK, False)


def test_an_answer_holds_no_byte_that_would_begin_or_end_it() -> None:
    sent = b"MSH|^~\\&|HIS|LX|||2026||ADT^A01|1\x0bMSH|P|2.5|||||\x1c"
    answer = acknowledge(read_header(sent), Code.AR, "1", NOW)
    assert b"\rMSA|AR|1MSH\r" in answer
    assert not set(answer) & {0x0B, 0x1C}


@pytest.mark.parametrize(("separator", "version"), [("+", "2.5.1"), (".", "2\\F\\5\\F\\1")])
def test_an_answer_to_a_sender_with_unusual_separators_has_its_fields_in_their_places(
    separator: str, version: str
) -> None:
    sent = b"MSH|^~\\&|HIS|LX|||2026||ADT^A01|7|P|".replace(b"|", separator.encode())
    msh, msa = acknowledge(read_header(sent), Code.AA, "1", NOW).decode().split("\r")[:2]
    assert msh.split(separator)[8:12] == ["ACK^A01^ACK", "1", "P", version]
    assert msa == f"MSA{separator}AA{separator}7"
