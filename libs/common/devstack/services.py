"""What is a service of ours told when it starts on one machine, and when is it ready?"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from libs.common.dev_issuer import DEFAULT_AUDIENCE, JWKS_FILE, PATH, write_new
from libs.common.devstack.child import Program
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import ROOT, SERVICES, Ports, free_ports
from libs.common.devstack.probe import http_answers
from libs.common.envelope import ACTIVE, key_file, new_key

MIGRATE_SECONDS = 120


def issuer_folder(folder: Path) -> Path:
    return folder / "dev-issuer"


def cipher_folder(folder: Path) -> Path:
    """The keys that seal personal data; one is made the first time."""
    keys = folder / "cipher-keys"
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (keys / ACTIVE).exists():
        write_new(key_file(keys, "development"), new_key())
        write_new(keys / ACTIVE, b"development\n")
    return keys


def environment(folder: Path, ports: Ports, bootstrap: str, mongo_url: str) -> dict[str, str]:
    """What every service gets. Its keys come from a file, so none waits for an issuer."""
    return {
        "ENVIRONMENT": "development",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "MONGO_URL": mongo_url,
        "HTTP_HOST": "127.0.0.1",
        "OIDC_ISSUER": f"http://127.0.0.1:{ports.page}{PATH}",
        "OIDC_AUDIENCE": DEFAULT_AUDIENCE,
        "OIDC_JWKS_URL": (issuer_folder(folder) / JWKS_FILE).as_uri(),
        "POLICIES_DIR": str(ROOT / "policies"),
        "SIGNING_KEYS_DIR": str(folder / "signing-keys"),
        "CIPHER_KEYS_DIR": str(cipher_folder(folder)),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{ports.services['enrollment']}",
        "PRESCRIPTIONS_PUBLIC_URL": f"http://127.0.0.1:{ports.services['prescriptions']}",
        "INTEROP_PUBLIC_URL": f"http://127.0.0.1:{ports.services['interop']}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # compiled once, a service starts in a third of the time
    }


def program(
    name: str, ports: Ports, environment: Mapping[str, str], replica: int, port: int | None
) -> Program:
    if name not in SERVICES:
        raise StackError(f"{name} is not a service; there are {', '.join(SERVICES)}.")
    if port is None:
        port = ports.services[name] if replica == 1 else free_ports(1)[0]
    own = {"HTTP_PORT": str(port)}
    if name == "interop":
        own["MLLP_PORT"] = str(ports.mllp if replica == 1 else free_ports(1)[0])
    return Program(
        name=name if replica == 1 else f"{name}-{replica}",
        argv=[sys.executable, "-m", f"services.{name}.main"],
        ready=partial(http_answers, f"http://127.0.0.1:{port}/readyz"),
        env={**environment, **own},
        cwd=ROOT,
    )


def migrate(names: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Collections and indexes of these services, as an installation's migration job does it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            [sys.executable, "-m", "libs.common.migrate", *names],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=MIGRATE_SECONDS,
            check=False,
        )
    if done.returncode:
        raise StackError(
            f"The collections of {', '.join(names)} could not be prepared: the log is {log}."
        )


def page_endpoints(ports: Ports) -> dict[str, str]:
    """Where services send what the page shows: spans, mail, persons' webhooks."""
    page = f"http://127.0.0.1:{ports.page}"
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": page,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(ports.smtp),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "lianxin@hospital.example",
        "WEBHOOK_SECRET": f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }


def page(folder: Path, ports: Ports, environment: Mapping[str, str]) -> Program:
    own = {
        "DATA_DIR": str(folder),
        "PAGE_PORT": str(ports.page),
        "PAGE_SMTP_PORT": str(ports.smtp),
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.services.items()},
    }
    return Program(
        name="page",
        argv=[sys.executable, "-m", "libs.common.devstack.page"],
        ready=partial(http_answers, f"http://127.0.0.1:{ports.page}/readyz"),
        env={**environment, **own},
        cwd=ROOT,
        stop_seconds=10,
    )
