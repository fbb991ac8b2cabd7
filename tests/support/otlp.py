"""Where do the services' spans go in a test? To a collector that keeps what it is sent."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from libs.common.devstack.page.traces import SpanRow, decode


class Collector:
    """OTLP over HTTP; ``spans`` are all that have come."""

    def __init__(self) -> None:
        self.spans: list[SpanRow] = []
        self.url = ""

    def traces(self) -> Mapping[str, list[SpanRow]]:
        found: defaultdict[str, list[SpanRow]] = defaultdict(list)
        for span in list(self.spans):
            found[span.trace_id].append(span)
        return found

    @contextmanager
    def running(self) -> Iterator[None]:
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                spans.extend(decode(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """It is asked several times a second."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def orphans(spans: list[SpanRow]) -> list[SpanRow]:
    """Those whose parent is not among them."""
    ids = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id and span.parent_id not in ids]
