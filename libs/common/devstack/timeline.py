"""How does a person at the terminal, and on the page, hear what happens to the stack?"""

from __future__ import annotations

import http.client
import json
import threading
import time

from libs.common.devstack.part import Said

TIMEOUT = 2.0
#: Notes kept for a page that is down.
LONGEST_BACKLOG = 100


class Timeline:
    """Prints what happens, and tells the page; what came before the page is told it later."""

    def __init__(self, page_port: int) -> None:
        self._port = page_port
        self._page_up = False
        self._untold: list[dict[str, str]] = []
        self._lock = threading.Lock()  # the watch speaks from a thread of its own

    def say(self, text: str) -> None:
        """A line for the terminal alone."""
        with self._lock:
            print(text, flush=True)

    def tell(self, part: str, said: Said) -> None:
        """What happened to ``part``: on the terminal and in the page's timeline."""
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')}  {part:<14} {said.en}", flush=True)
            self._untold.append({"part": part, "text": said.en, "text_zh": said.zh})
            if self._page_up:
                self._tell_page()

    def page_is_up(self) -> None:
        with self._lock:
            self._page_up = True
            self._tell_page()

    def _tell_page(self) -> None:
        """In order; if the page itself is down, it hears the rest when it is back."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            while self._untold:
                body = json.dumps(self._untold[0])
                connection.request("POST", "/timeline", body, {"Content-Type": "application/json"})
                connection.getresponse().read()
                self._untold.pop(0)
        except (OSError, http.client.HTTPException):
            del self._untold[:-LONGEST_BACKLOG]
        finally:
            connection.close()
