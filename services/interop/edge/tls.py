"""How do a sender and we know each other before the first message?"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any


def server_context(
    *, certificate: Path, key: Path | None = None, client_ca: Path | None = None
) -> ssl.SSLContext:
    """TLS for a server, from PEM files; ``key`` is in ``certificate``'s file if not given.

    With ``client_ca`` a sender must show a certificate that one of those authorities has
    signed. Raises ``OSError`` or ``ssl.SSLError`` for files that can't be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer could keep us busy with handshakes on one connection (CVE-2011-1473).
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def common_name(certificate: dict[str, Any] | None) -> str | None:
    """The subject's common name, from ``getpeercert()``; None if there is not exactly one.

    Only of a certificate that was verified: of any other, ``getpeercert()`` is empty.
    """
    subject = (certificate or {}).get("subject", ())
    names = [str(value) for part in subject for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else None
