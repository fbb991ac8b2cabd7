"""Are the services' settings those of an installation, and not of a developer's machine?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import DotEnvSettingsSource

from lianxin.checks import Deployment, Finding, Findings
from lianxin.installation import SERVICES, Installation
from lianxin.output import Failed, wrong_settings
from libs.common.dev_issuer import Refused, refuse_development_issuer
from libs.common.settings import Settings

CHECK: Final = "settings"
_HERE: Final = ("127.0.0.1", "localhost", "::1")
#: Who logs in, in an address; up to the last @, as a password may hold one.
_WHO: Final = re.compile(r"(?<=://)[^/]*@")
#: What nobody may guess: NIST SP 800-63B wants 8 at least for people; machines can do better.
_SHORTEST: Final = 16
_ADDRESSES: Final = (
    *("kafka_bootstrap_servers", "mongo_url", "oidc_issuer", "oidc_jwks_url", "public_base_url"),
    *("prescriptions_public_url", "interop_public_url"),
)
#: What all services must agree on, or one takes a token, a day or a key that another does not.
_ALIKE: Final = (
    *("environment", "oidc_issuer", "oidc_audience", "oidc_jwks_url", "hospital_time_zone"),
    *("kafka_bootstrap_servers", "mongo_url"),
)


def read(
    installation: Installation, folder: Path | None
) -> tuple[dict[str, Settings], list[Finding]]:
    """Each service's settings: of ``<service>.env`` in ``folder``, or of the environment."""
    found, services = Findings(CHECK), dict[str, Settings]()
    common = set(Settings.model_fields) - {"http_port"}
    ours = installation.settings.model_dump(include=common)
    for name in SERVICES:
        kind = installation.spec(name).settings
        try:
            services[name] = kind(**(_given(folder, name, kind) if folder else ours))
        except ValidationError as error:
            said = str(wrong_settings(error))
            found.wrong(name, said, "set it so, or the service does not start")
    return services, found.all


def _given(folder: Path, name: str, kind: type[Settings]) -> Mapping[str, Any]:
    """What the file says; what it does not is the default, whatever this environment has."""
    file = folder / f"{name}.env"
    if not file.is_file():
        raise Failed(f"{file} is missing: write the variables of {name} into it, NAME=value.")
    fields = kind.model_fields.items()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields}
    return defaults | DotEnvSettingsSource(kind, env_file=file)()


def examine(of: Deployment) -> list[Finding]:
    found = Findings(CHECK)
    for name, settings in of.services.items():
        before = list(found.all)
        if settings.environment == "production":
            _of_production(found, name, settings)
        else:
            remedy = "ENVIRONMENT=production, where patients are"
            found.warn(name, "ENVIRONMENT=development: whoever asks gets a token", remedy)
        found.ok_unless(before, name, "those of an installation")
    before = list(found.all)
    for field in _ALIKE:
        said = {name: _told(s, field) for name, s in of.services.items()}
        if len(set(said.values())) > 1:
            values = ", ".join(f"{value} ({name})" for name, value in said.items())
            found.wrong("all", f"{field.upper()} is not the same: {values}", "give all the same")
    found.ok_unless(before, "all", "agree on what they share")
    return found.all


def _told(s: Settings, field: str) -> str:
    """As it may be shown: an address without who logs in there, and by which password."""
    return _WHO.sub("…@", str(getattr(s, field, "")))


def _of_production(found: Findings, name: str, s: Settings) -> None:
    # What was said nowhere is a service's own, and not seen from here: no default is its value.
    seen = s.model_fields_set
    if "SSL" not in s.kafka_security_protocol:
        said = f"KAFKA_SECURITY_PROTOCOL={s.kafka_security_protocol}: anybody on the way can read"
        found.wrong(name, said, "SASL_SSL, and KAFKA_CA if the system does not know the authority")
    if s.mongo_tls == "off":
        said = "MONGO_TLS=off: anybody on the way can read"
        found.wrong(name, said, "MONGO_TLS=on, and MONGO_CA if the system does not know it")
    if not s.mongo_username and s.mongo_cert is None:
        said = "the database is asked without a user"
        found.wrong(name, said, "MONGO_USERNAME and MONGO_PASSWORD of a user of its own")
    if urlsplit(s.mongo_url).password:
        said = "MONGO_URL holds a password, and addresses end up in logs"
        found.wrong(name, said, "put it into MONGO_PASSWORD")
    if "replicaset=" not in s.mongo_url.lower() and "+srv" not in s.mongo_url:
        said = "MONGO_URL names no replica set: without the whole set no failover is followed"
        found.warn(name, said, "add ?replicaSet=…")
    for field in _ADDRESSES:
        if field in seen and any(here in _told(s, field) for here in _HERE):
            said = f"{field.upper()} is {_told(s, field)}: this machine"
            found.wrong(name, said, "name what others reach")
    for field in ("kafka_password", "mongo_password", "smtp_password"):
        secret: SecretStr | None = getattr(s, field, None)
        text = secret.get_secret_value() if secret is not None else ""
        if text and (len(text) < _SHORTEST or text in (s.kafka_username, s.mongo_username)):
            found.wrong(name, f"{field.upper()} can be guessed", f"draw {_SHORTEST} signs or more")
    try:
        refuse_development_issuer(s)
    except Refused as error:
        found.wrong(name, str(error), "your OIDC provider's https addresses")
    if s.kafka_idempotence == "off":
        said = "KAFKA_IDEMPOTENCE=off: an event may stand twice, out of order"
        found.wrong(name, said, "leave it on")
    if s.cipher_keys_dir is None:
        said = "CIPHER_KEYS_DIR is not set: personal data is stored unsealed"
        found.warn(name, said, "docs/runbook.md, Rotate keys: how to begin")
    if s.cipher_takes_plain == "on":
        said = "CIPHER_TAKES_PLAIN=on: what somebody slipped in unsealed would be believed"
        found.warn(name, said, "off, once `python -m libs.common.reseal --to KEY` has gone through")
    mllp: int = getattr(s, "mllp_port", 0) if "mllp_port" in seen else 0
    if mllp and getattr(s, "mllp_tls_cert", None) is None:
        said = "MLLP without TLS: patients' data in clear on the hospital's network"
        found.warn(name, said, "MLLP_TLS_CERT and MLLP_TLS_CLIENT_CA, or a TLS proxy before it")
