"""How is the page started? ``ENVIRONMENT=development python -m libs.common.devstack.page``."""

from __future__ import annotations

import sys

import uvicorn

from libs.common import logs
from libs.common.devstack.errors import StackError
from libs.common.devstack.page.app import build
from libs.common.devstack.page.feed import KafkaFeed, topics
from libs.common.devstack.page.settings import Settings


def main() -> int:
    try:
        settings = Settings.read()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    logs.configure("page", environment="development")
    app = build(settings, KafkaFeed(settings.bootstrap, topics(settings.topics)))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
