"""Which parts of a message are too long to be kept in one piece with it?

Embedded documents, as a rule: long texts in base64. Each is kept apart, by the SHA-256 of its
content, which stands in its place; so what is read, mapped and stored of a message stays small
however large a scan comes along. :func:`joined` gives the message back byte for byte.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from services.interop.domain.receipt import Cut

#: Shorter ones stay where they are.
LONG: Final = 64 * 1024
#: What may be left in one piece: a document of the database takes 16 MiB.
MOST_IN_PLACE: Final = 4 * 1024 * 1024
#: Only from the begin of a run: to try each byte of one that is too short takes the square of
#: its length, and nothing else happens meanwhile.
_BASE64: Final = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{%d,}+={0,2}" % LONG)


class Piece(NamedTuple):
    """A part that was cut out; ``base64``: of whose encoding ``content`` is what it encodes."""

    content: bytes
    base64: bool


class Parts(NamedTuple):
    """``rest`` with digests in the place of what was cut; the pieces, by digest."""

    rest: bytes
    cuts: tuple[Cut, ...] = ()
    pieces: Mapping[str, Piece] = {}


def cut(raw: bytes) -> Parts:
    """``raw`` without its long parts."""
    if len(raw) <= LONG:
        return Parts(raw)
    rest: list[bytes] = []
    cuts: list[Cut] = []
    pieces: dict[str, Piece] = {}
    end = size = 0
    for found in _BASE64.finditer(raw):
        piece = _piece(found[0])
        digest = sha256(piece.content).hexdigest()
        before = raw[end : found.start()]
        cuts.append(Cut(at=size + len(before), sha256=digest, base64=piece.base64))
        rest += (before, digest.encode())
        size += len(before) + len(digest)
        pieces[digest], end = piece, found.end()
    return Parts(b"".join((*rest, raw[end:])), tuple(cuts), pieces)


def kept(raw: bytes, parts: Parts) -> Parts:
    """What is stored of ``raw``: ``parts``, or all of it apart if too much is left of it."""
    if len(parts.rest) <= MOST_IN_PLACE:
        return parts
    digest = sha256(raw).hexdigest()
    return Parts(
        digest.encode(),
        (Cut(at=0, sha256=digest, base64=False),),
        {digest: Piece(raw, base64=False)},
    )


def joined(rest: bytes, cuts: Iterable[Cut], contents: Mapping[str, bytes]) -> bytes:
    """The message as it came."""
    pieces: list[bytes] = []
    end = 0
    for one in cuts:
        content = contents[one.sha256]
        whole = b2a_base64(content, newline=False) if one.base64 else content
        pieces += (rest[end : one.at], whole)
        end = one.at + len(one.sha256)
    return b"".join((*pieces, rest[end:]))


def _piece(text: bytes) -> Piece:
    """What is encoded there, if it can be encoded again to the same text; else the text."""
    try:
        content = a2b_base64(text, strict_mode=True)
    except Error:
        return Piece(text, base64=False)
    same = b2a_base64(content, newline=False) == text
    return Piece(content, base64=True) if same else Piece(text, base64=False)
