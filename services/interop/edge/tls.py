"""How do a sender and we know each other before the first message?"""

from __future__ import annotations

import ssl
from hashlib import sha256
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


def names(tls: ssl.SSLObject | None) -> frozenset[str]:
    """What a peer's certificate calls it, in small letters, and ``sha256:`` with its fingerprint.

    Its subject's common name, if there is exactly one, and its DNS names. Only of a
    certificate that was verified: of any other, ``getpeercert()`` is empty.
    """
    certificate: dict[str, Any] = (tls and tls.getpeercert()) or {}
    if tls is None or not certificate:
        return frozenset()
    subject = certificate.get("subject", ())
    common = [value for part in subject for name, value in part if name == "commonName"]
    dns = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    fingerprint = sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    found = [*(common if len(common) == 1 else ()), *dns, f"sha256:{fingerprint}"]
    return frozenset(str(name).lower() for name in found)
