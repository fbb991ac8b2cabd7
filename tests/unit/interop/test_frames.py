"""Are messages told apart whatever the network does to the bytes, in bounded memory?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.interop.edge.frames import Broken, Frames, framed

LIMIT = 200
#: What MLLP allows in a message, and the VT that comes along in free text.
messages = st.lists(
    st.binary(max_size=LIMIT).map(lambda b: b.replace(b"\x1c", b"").replace(b"\x0bMSH", b"")),
    max_size=6,
)
junk = st.binary(max_size=20).map(lambda b: b.replace(b"\x0b", b""))


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


def fed(frames: Frames, parts: list[bytes]) -> list[bytes]:
    return [message for part in parts for message in frames.feed(part)]


@given(messages, st.lists(st.integers(0, 50), max_size=60))
def test_the_same_messages_come_out_however_the_bytes_are_cut(
    sent: list[bytes], sizes: list[int]
) -> None:
    frames = Frames(LIMIT)
    assert fed(frames, chunks(b"".join(map(framed, sent)), sizes)) == sent
    assert (frames.open, frames.held, frames.skipped, frames.broken) == (False, 0, 0, None)


@given(st.binary(max_size=3_000), st.lists(st.integers(0, 50), max_size=60))
def test_any_bytes_at_all_give_the_same_however_they_are_cut(data: bytes, sizes: list[int]) -> None:
    whole, cut = Frames(40, 60), Frames(40, 60)
    assert whole.feed(data) == fed(cut, chunks(data, sizes))
    assert (whole.open, whole.held, whole.broken) == (cut.open, cut.held, cut.broken)
    if whole.broken is None:
        assert whole.skipped == cut.skipped


@given(st.lists(st.binary(max_size=100), max_size=100))
def test_no_bytes_make_it_hold_more_than_the_limit(parts: list[bytes]) -> None:
    frames = Frames(LIMIT, 10_000)
    for part in parts:
        assert all(len(message) <= LIMIT for message in frames.feed(part))
        assert frames.held <= LIMIT


@given(messages, st.lists(junk, min_size=7, max_size=7))
def test_junk_between_messages_is_skipped_and_counted(
    sent: list[bytes], between: list[bytes]
) -> None:
    frames = Frames(LIMIT)
    stream = between[0] + b"".join(
        framed(message) + after for message, after in zip(sent, between[1:], strict=False)
    )
    assert frames.feed(stream) == sent
    # CR and LF right after a message belong to its end.
    after = [part.lstrip(b"\r\n") for part in between[1 : len(sent) + 1]]
    assert frames.skipped == len(between[0]) + sum(map(len, after))


def test_a_missing_carriage_return_after_the_end_is_forgiven_at_once() -> None:
    assert Frames(LIMIT).feed(b"\x0bone\x1c\x0btwo\x1c") == [b"one", b"two"]


def test_line_ends_between_messages_are_no_junk() -> None:
    frames = Frames(LIMIT)
    assert frames.feed(b"\x0bone\x1c") + frames.feed(b"\r") + frames.feed(b"\n\x0btwo\x1c\r\n")
    assert frames.skipped == 0


def test_a_message_of_just_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert Frames(3).feed(framed(b"abc")) == [b"abc"]
    frames = Frames(3)
    assert frames.feed(framed(b"abcd")) == []
    assert frames.broken is Broken.FRAME_TOO_LARGE


def test_the_messages_before_one_that_is_too_large_are_kept_and_those_after_it_are_not() -> None:
    frames = Frames(3)
    assert frames.feed(framed(b"abc") + framed(b"abcd") + framed(b"x")) == [b"abc"]
    assert frames.feed(framed(b"y")) == []
    assert frames.held == 0


def test_a_message_without_end_is_let_go_when_it_passes_the_limit() -> None:
    frames = Frames(LIMIT)
    frames.feed(b"\x0b")
    while frames.broken is None:
        frames.feed(b"x" * 50)
        assert frames.held <= LIMIT
    assert (frames.broken, frames.held, frames.open) == (Broken.FRAME_TOO_LARGE, 0, False)


def test_a_stream_that_is_no_mllp_is_given_up() -> None:
    frames = Frames(LIMIT, junk_limit=100)
    frames.feed(b"GET / HTTP/1.1\r\n" * 6)
    assert frames.broken is None
    frames.feed(b"GET / HTTP/1.1\r\n")
    assert frames.broken is Broken.TOO_MUCH_JUNK


def test_junk_is_forgotten_with_each_message() -> None:
    frames = Frames(LIMIT, junk_limit=10)
    for _ in range(100):
        assert frames.feed(b"12345678" + framed(b"m")) == [b"m"]
    assert (frames.broken, frames.skipped) == (None, 800)


def test_a_message_that_is_broken_off_and_sent_again_is_one_message() -> None:
    frames = Frames(LIMIT)
    assert frames.feed(b"\x0bMSH|^~\\&|half" + framed(b"MSH|^~\\&|whole")) == [b"MSH|^~\\&|whole"]
    assert frames.skipped == len(b"MSH|^~\\&|half\x0b")


def test_a_vertical_tab_in_a_text_begins_no_message() -> None:
    message = b"MSH|^~\\&|\rOBX|1|TX|||first line\x0bsecond line"
    assert Frames(LIMIT).feed(framed(message)) == [message]


def test_an_empty_message_is_a_message() -> None:
    assert Frames(LIMIT).feed(framed(b"")) == [b""]
