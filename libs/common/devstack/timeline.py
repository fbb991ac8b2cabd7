"""How does a person at the terminal, and on the page, hear what happens to the stack?"""

from __future__ import annotations

import http.client
import json
import threading
import time

from libs.common.devstack.part import Said

TIMEOUT = 2.0


class Timeline:
    """Prints what happens; once the page is up it is told too."""

    def __init__(self, page_port: int) -> None:
        self._port = page_port
        self._page_up = False
        self._lock = threading.Lock()  # the watch speaks from a thread of its own

    def page_is_up(self) -> None:
        self._page_up = True

    def say(self, text: str) -> None:
        """A line for the terminal alone."""
        with self._lock:
            print(text, flush=True)

    def tell(self, part: str, said: Said) -> None:
        """What happened to ``part``: on the terminal and in the page's timeline."""
        self.say(f"{time.strftime('%H:%M:%S')}  {part:<14} {said.en}")
        if self._page_up:
            self._post({"part": part, "text": said.en, "text_zh": said.zh})

    def _post(self, body: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.request(
                "POST", "/timeline", json.dumps(body), {"Content-Type": "application/json"}
            )
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass  # the page itself may be what is down; the terminal has been told
        finally:
            connection.close()
