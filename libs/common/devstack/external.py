"""Does a broker or a database that somebody else runs answer at the address we were given?"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from libs.common.devstack.errors import StackError
from libs.common.devstack.probe import kafka_answers, mongo_answers


def addresses(text: str, usual: int) -> list[tuple[str, int]]:
    found = []
    for address in text.split(","):
        host, _, port = address.strip().rpartition(":")
        found.append((host, int(port)) if host and port.isdigit() else (address.strip(), usual))
    return found


def require_kafka(bootstrap: str) -> None:
    if not any(kafka_answers(host, port) for host, port in addresses(bootstrap, 9092)):
        raise StackError(
            f"KAFKA_BOOTSTRAP_SERVERS names {bootstrap}, where no Kafka answers: start it, or "
            "unset the variable to have a broker started here."
        )


def require_mongo(url: str) -> None:
    """Ask plain addresses only; with DNS seed lists or TLS the services' own driver finds out."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if parts.scheme != "mongodb" or {"tls", "ssl"} & options.keys():
        return
    hosts = parts.netloc.rpartition("@")[2]
    if not any(mongo_answers(host, port) for host, port in addresses(hosts, 27017)):
        raise StackError(
            f"MONGO_URL names {hosts}, where no MongoDB primary answers: start it (as a replica "
            "set), or unset the variable to have a database started here."
        )
