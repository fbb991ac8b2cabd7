"""Do the certificates hold: those in files, and those that the servers show?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lianxin.checks import Deployment, Finding, Findings
from libs.common.settings import Settings

CHECK: Final = "certificates"
_FILES: Final = ("_ca", "_cert")
_SECONDS: Final = 5.0


async def examine(of: Deployment) -> list[Finding]:
    found = Findings(CHECK)
    now = of.installation.ports.clock.now()
    for name, file, key in _files(of.services):
        await asyncio.to_thread(_file, found, name, file, key, now, of.days)
    served = {
        (host, port, ca)
        for settings in of.services.values()
        for host, port, ca in _served(settings)
    }
    await asyncio.gather(
        *(
            _server(found, host, port, ca, now, of.days)
            for host, port, ca in sorted(served, key=str)
        )
    )
    await _mllp(found, of, now)
    if not found.all:
        found.ok("all", "nothing here speaks TLS")
    return found.all


def _files(
    services: Mapping[str, Settings],
) -> Iterator[tuple[str, Path, Path | None]]:
    """Each file once, by the first service and variable that name it; a certificate with its
    key, where that is another file."""
    seen: set[Path] = set()
    for service, settings in services.items():
        for field in type(settings).model_fields:
            file = getattr(settings, field)
            if field.endswith(_FILES) and isinstance(file, Path) and file not in seen:
                seen.add(file)
                key = getattr(settings, f"{field.removesuffix('_cert')}_key", None)
                yield f"{service} {field.upper()}", file, key if field.endswith("_cert") else None


def _file(
    found: Findings, name: str, file: Path, key: Path | None, now: datetime, days: int
) -> None:
    try:
        certificates = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        found.wrong(name, f"{file} can't be read: {error}", "a PEM file that the service may read")
        return
    if not certificates:
        found.wrong(name, f"{file} holds no certificate", "a PEM file with one")
        return
    if key is not None and not _belongs(certificates[0], key):
        said = f"{key} is not the key of {file}"
        found.wrong(name, said, "put the two that were made together")
        return
    _lasts(found, f"{name} {file}", min(c.not_valid_after_utc for c in certificates), now, days)


def _belongs(certificate: x509.Certificate, key: Path) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return False
    return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _lasts(found: Findings, of: str, until: datetime, now: datetime, days: int) -> None:
    left = until - now
    if left <= timedelta(0):
        found.wrong(of, f"ran out on {until:%Y-%m-%d}", "renew it now: clients refuse it")
    elif left <= timedelta(days=days):
        remedy = "renew it, or look why it was not renewed by itself"
        found.warn(of, f"runs out on {until:%Y-%m-%d}, in {left.days} days", remedy)
    else:
        found.ok(of, f"until {until:%Y-%m-%d}")


def _served(settings: Settings) -> Iterator[tuple[str, int, Path | None]]:
    if "SSL" in settings.kafka_security_protocol:
        for server in settings.kafka_bootstrap_servers.split(","):
            host, _, port = server.strip().partition(":")
            yield host, int(port or 9092), settings.kafka_ca  # as the client takes it
    if settings.mongo_tls == "on" and "+srv" not in settings.mongo_url:
        for server in urlsplit(settings.mongo_url).netloc.rpartition("@")[2].split(","):
            host, _, port = server.partition(":")
            yield host, int(port or 27017), settings.mongo_ca
    for url in (settings.oidc_issuer, settings.oidc_jwks_url):
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            yield parts.hostname, parts.port or 443, settings.oidc_ca


async def _server(
    found: Findings, host: str, port: int, ca: Path | None, now: datetime, days: int
) -> None:
    of = f"{host}:{port}"
    try:
        until = await _shown(host, port, ssl.create_default_context(cafile=ca))
    except ssl.SSLCertVerificationError as error:
        remedy = "renew it if it ran out; else the authority (…_CA) or the name in it is another"
        found.wrong(of, f"its certificate is not believed: {error.verify_message}", remedy)
    except (OSError, TimeoutError) as error:
        said = f"no TLS there ({type(error).__name__}: {error})"
        found.wrong(of, said, "is the address right, and may this machine reach it?")
    else:
        _lasts(found, of, until, now, days)


async def _mllp(found: Findings, of: Deployment, now: datetime) -> None:
    """What each replica shows to senders. Whether they believe it is seen at theirs alone; and
    whether it is to be TLS, in interop's own settings alone."""
    interop = of.services.get("interop")
    port: int = getattr(interop, "mllp_port", 0)
    any_certificate = ssl.create_default_context()
    any_certificate.check_hostname, any_certificate.verify_mode = False, ssl.CERT_NONE
    for url in await of.installation.replicas("interop") if port else ():
        host = urlsplit(url).hostname or ""
        name = f"interop MLLP {host}:{port}"
        try:
            await _reached(host, port)
        except (OSError, TimeoutError) as error:
            said = f"can't be asked ({type(error).__name__}: {error})"
            found.warn(name, said, "may this machine reach it? LIANXIN_URL names interop's host")
            continue
        try:
            _lasts(found, name, await _shown(host, port, any_certificate), now, of.days)
        except (
            OSError,
            TimeoutError,
        ) as error:  # plain: interop's own settings say if it should be
            if getattr(interop, "mllp_tls_cert", None) is not None:
                said = f"no TLS there ({type(error).__name__}: {error})"
                found.warn(name, said, "MLLP_TLS_CERT, and interop's log")


async def _reached(host: str, port: int) -> None:
    async with asyncio.timeout(_SECONDS):
        _, writer = await asyncio.open_connection(host, port)
    writer.transport.abort()


async def _shown(host: str, port: int, context: ssl.SSLContext) -> datetime:
    """Until when the certificate lasts that is shown there."""
    async with asyncio.timeout(_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).not_valid_after_utc
    finally:
        writer.transport.abort()
