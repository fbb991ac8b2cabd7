"""A platform that is watched as in operation: Prometheus scrapes it, spans are collected.

Debian's real Prometheus, with the rules of ``deploy/``; a collector that keeps what it is sent.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from libs.common.devstack.places import free_ports
from tests.support.platform import REPLICAS, Platform
from tests.support.promql import RULES


class Prometheus:
    """Scrapes every replica once a second, as the job and with the label that deploy/ gives."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self._url, self._http = url, http

    def get(self, path: str, **params: str) -> Any:
        answer = self._http.get(f"{self._url}/api/v1/{path}", params=params).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    async def scraped(self, times: int = 3) -> None:
        """Wait until what is so now has been scraped that often."""
        await asyncio.sleep(times + 1)


def _targets(platform: Platform) -> list[Mapping[str, Any]]:
    return [
        {
            "targets": [platform.stack.service_url(replica).removeprefix("http://")],
            "labels": {"service": replica.partition("-")[0]},
        }
        for replica in REPLICAS
    ]


@contextmanager
def prometheus(folder: Path, platform: Platform) -> Iterator[Prometheus]:
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [{"job_name": "lianxin", "static_configs": _targets(platform)}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 30
            while not _ready(url):
                assert process.poll() is None and time.monotonic() < until, (
                    folder / "prometheus.log"
                ).read_text()
                time.sleep(0.2)
            with httpx.Client(trust_env=False, timeout=30) as http:
                yield Prometheus(url, http)
        finally:
            process.terminate()
            process.wait(20)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
