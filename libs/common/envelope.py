"""How is personal data sealed, and how are its keys replaced while everybody reads and writes?

Envelope encryption: each process seals with a data key of its own (AES-256-GCM, NIST SP
800-38D), which stands in every value, wrapped by a key of the installation's (RFC 3394). A
value says by which. Its place is authenticated with it, so that one that was copied to another
record, field or hospital does not open.

The installation's keys are files of a folder, such as a mounted secret: ``<name>.key`` holds 32
bytes in base64, and ``active`` the name of the one to seal with. Both are looked at while
running: add a key everywhere, then name it active, then ``libs.common.reseal`` seals anew
what is stored, then take the old one away.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import OrderedDict
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from libs.common.cipher import CantOpen, KeyMissing, Place
from libs.common.clock import Clock, SystemClock
from libs.common.settings import Settings

_MAGIC: Final = b"\x01LX"  # neither JSON nor BSON begins so
_NONCE, _WRAPPED, _KEY_BYTES = 12, 40, 32
#: Values sealed with one data key; for random nonces 2^32 is the end (SP 800-38D, 8.3).
_SEALS_PER_KEY: Final = 2**31
#: Seconds between two looks at which key is active.
_LOOK: Final = 5.0
#: Data keys that are kept unwrapped, the last used.
_UNWRAPPED: Final = 4096
_SYSTEM: Final = SystemClock()
#: The file that names the key to seal with.
ACTIVE: Final = "active"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _random(count: int) -> bytes:
    # Never from a port: a nonce that a simulation repeats would give the key away.
    return secrets.token_bytes(count)  # noqa: TID251


def key_of(value: object) -> str:
    """The name of the key that a stored value needs; ``""`` if it is not sealed."""
    if not isinstance(value, bytes) or not value.startswith(_MAGIC):
        return ""
    at = len(_MAGIC) + 1
    return value[at : at + sum(value[at - 1 : at])].decode("ascii", "replace")


def key_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.key"


def new_key() -> bytes:
    """What a key's file holds."""
    return b64encode(_random(_KEY_BYTES)) + b"\n"


class KeyFolder:
    """The installation's keys by name. Raises ``ValueError`` for what can't be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, bytes] = {}

    def active(self) -> str:
        name = (self._folder / ACTIVE).read_text("ascii").strip()
        self.key(name)
        return name

    def key(self, name: str) -> bytes:
        """The key ``name``; ``KeyError`` if there is none."""
        if name not in self._keys:
            if not _NAME.fullmatch(name):
                raise KeyError(name)
            try:
                text = key_file(self._folder, name).read_text("ascii")
            except FileNotFoundError:
                raise KeyError(name) from None
            try:
                key = b64decode(text.strip(), validate=True)
            except NotBase64:
                key = b""
            if len(key) != _KEY_BYTES:
                raise ValueError(f"{name}.key must hold {_KEY_BYTES} bytes in base64")
            self._keys[name] = key
        return self._keys[name]


class Envelope:
    """The cipher of one process. ``takes_plain``: while an installation begins to seal, what is
    stored unsealed may still be read; afterwards it must not, or it could be slipped in."""

    def __init__(
        self, keys: KeyFolder, *, takes_plain: bool = False, clock: Clock = _SYSTEM
    ) -> None:
        self.takes_plain = takes_plain
        self._keys, self._clock = keys, clock
        self._data_keys: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._looked = self._left = 0.0
        self._name = ""
        self._head = b""
        self._sealing = self._renewed()

    @property
    def active(self) -> str:
        """The key to seal with, as it is seen here: another's mount may follow later."""
        self._look()
        return self._name

    def is_sealed(self, value: bytes) -> bool:
        return value.startswith(_MAGIC)

    def seal(self, place: Place, plain: bytes) -> bytes:
        self._look()
        self._left -= 1
        nonce = _random(_NONCE)
        return self._head + nonce + self._sealing.encrypt(nonce, plain, _bound(place))

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Raises :class:`CantOpen`, and :class:`KeyMissing` if its key may still come."""
        if not self.is_sealed(sealed):
            if self.takes_plain:
                return sealed
            raise CantOpen("it is not sealed")
        at = len(_MAGIC) + 1
        end = at + sum(sealed[at - 1 : at]) + _WRAPPED
        key = self._data_keys.get(sealed[:end])
        if key is None:
            key = self._unwrapped(sealed[:end], sealed[at : end - _WRAPPED])
        try:
            return key.decrypt(sealed[end : end + _NONCE], sealed[end + _NONCE :], _bound(place))
        except (InvalidTag, ValueError):
            raise CantOpen("it was changed, or sealed for another place") from None

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now >= self._looked + _LOOK or self._left <= 0:
            self._looked = now
            if self._left <= 0 or self._keys.active() != self._name:
                self._sealing = self._renewed()

    def _renewed(self) -> AESGCM:
        self._name = self._keys.active()
        plain = _random(_KEY_BYTES)
        wrapped = aes_key_wrap(self._keys.key(self._name), plain)
        self._head = _MAGIC + bytes([len(self._name)]) + self._name.encode() + wrapped
        self._left = _SEALS_PER_KEY
        return self._remembered(self._head, plain)

    def _unwrapped(self, head: bytes, name: bytes) -> AESGCM:
        try:
            key = self._keys.key(name.decode("ascii"))
            return self._remembered(head, aes_key_unwrap(key, head[-_WRAPPED:]))
        except KeyError:
            raise KeyMissing(f"the key {name!r} is not there") from None
        except (InvalidUnwrap, ValueError):
            raise CantOpen("it was changed, or another key has that name") from None

    def _remembered(self, head: bytes, plain: bytes) -> AESGCM:
        key = self._data_keys[head] = AESGCM(plain)
        if len(self._data_keys) > _UNWRAPPED:
            self._data_keys.popitem(last=False)
        return key


def _bound(place: Place) -> bytes:
    return json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode()


def of(settings: Settings) -> Envelope | None:
    """What the settings ask for. Raises ``ValueError`` that names what is wrong."""
    if settings.cipher_keys_dir is None:
        return None
    try:
        return Envelope(
            KeyFolder(settings.cipher_keys_dir), takes_plain=settings.cipher_takes_plain == "on"
        )
    except KeyError as error:
        raise ValueError(f"CIPHER_KEYS_DIR can't be used: there is no key {error}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"CIPHER_KEYS_DIR can't be used: {error}") from error
