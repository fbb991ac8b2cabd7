"""Whom do we trust when we call a system over TLS, and who are we to it?

One way for all that call: the broker, the issuer of tokens, a hospital's own systems. The
database's driver takes the files by itself, and interop's port, where others call us, has
``services/interop/edge/tls.py``.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger()


def trusting(ca: Path | None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Certificates that ``ca`` vouches for, the system's authorities if it is None; we show
    ``cert``. Raises ``OSError`` (``ssl.SSLError`` is one) for a file that can't be used."""
    context = ssl.create_default_context(cafile=ca)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


class Renewed:
    """What ``make`` makes of ``files``, and anew whenever one of them has changed: a certificate is
    renewed while we run. Called for each new connection; one that is open keeps what it began with.

    Files that can't be used, such as a certificate whose key follows a moment later, leave us with
    what there was, and are tried again. At the start they raise ``OSError``.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], *files: Path | None) -> None:
        self._make, self._files = make, [file for file in files if file is not None]
        self._seen = self._complained_of = self._stamp()
        self._context = make()

    def __call__(self) -> ssl.SSLContext:
        now = self._stamp()
        if now != self._seen:
            try:
                self._context = self._make()
                self._seen = now
            except OSError as error:
                if now != self._complained_of:
                    log.error("certificate_not_taken", files=list(map(str, self._files)),
                              error=str(error))  # fmt: skip
                self._complained_of = now
        return self._context

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # of what a mounted Secret's links lead to
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def renewed(ca: Path | None, cert: Path | None, key: Path | None) -> Renewed:
    """:func:`trusting`, whose files may be renewed."""
    return Renewed(lambda: trusting(ca, cert, key), ca, cert, key)
