"""Does a broker, a database or a service really serve? Ask it in its own protocol.

Hand-made requests of a few bytes, so that a launcher or a fixture needs neither an event
loop nor a driver to ask (and only ``kafka`` and ``mongo`` import those).
"""

from __future__ import annotations

import http.client
import socket
import struct
from urllib.parse import urlsplit

TIMEOUT = 1.0

METADATA, METADATA_VERSION, CORRELATION = 3, 1, 7
OP_MSG = 2013
#: BSON of {hello: 1, $db: "admin"}
HELLO = b"\x10hello\x00\x01\x00\x00\x00\x02$db\x00\x06\x00\x00\x00admin\x00"
#: BSON of isWritablePrimary: true, inside the answer
PRIMARY = b"\x08isWritablePrimary\x00\x01"


def _exchange(host: str, port: int, request: bytes, length: str, counted: int = 0) -> bytes:
    """Send ``request``; the answer behind its ``length``, which counts ``counted`` of itself."""
    with socket.create_connection((host, port), TIMEOUT) as s:
        s.settimeout(TIMEOUT)
        s.sendall(request)
        with s.makefile("rb") as stream:
            (size,) = struct.unpack(length, stream.read(4))
            return stream.read(size - counted)


def kafka_answers(host: str, port: int) -> bool:
    """True if the broker answers a metadata request, names a broker and a controller."""
    client = b"devstack"
    body = struct.pack(">hhih", METADATA, METADATA_VERSION, CORRELATION, len(client)) + client
    body += struct.pack(">i", 0)  # about no topic
    try:
        answer = _exchange(host, port, struct.pack(">i", len(body)) + body, ">i")
        correlation, brokers = struct.unpack_from(">ii", answer)
        controller = struct.unpack_from(">i", answer, len(answer) - 8)[0]  # then 0 topics
    except (OSError, struct.error):
        return False
    return bool(correlation == CORRELATION and brokers > 0 and controller >= 0)


def mongo_answers(host: str, port: int) -> bool:
    """True if the server says hello and that it takes writes."""
    document = struct.pack("<i", len(HELLO) + 5) + HELLO + b"\x00"
    body = struct.pack("<iiiIB", 1, 0, OP_MSG, 0, 0) + document
    try:
        answer = _exchange(host, port, struct.pack("<i", len(body) + 4) + body, "<i", counted=4)
    except (OSError, struct.error):
        return False
    return PRIMARY in answer


def http_answers(url: str) -> bool:
    """True if a GET of ``url`` answers 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
