"""One kept-alive HTTP connection to a receiver of webhooks.

On `http.client`, which is quick and logs nothing: other clients write URLs, and so tokens, into
their logs.
"""

import http.client
import selectors
from typing import Final
from urllib.parse import urlsplit

from callkeeper_assets.simulator.webhook_settings import WebhookSettings

_CONTENT_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


class WebhookConnection:
    """Connects with the first payload, and again whenever the receiver has hung up."""

    def __init__(self, settings: WebhookSettings) -> None:
        parts = urlsplit(settings.url)
        is_secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=settings.timeout_sec)
        self._path = parts.path or "/"
        self._query = parts.query.encode()
        self.settings = settings

    def send(self, payload: bytes) -> tuple[int | None, str | None]:
        """Send a payload: the answer's status, or the name of what came in place of an answer."""
        if self._is_dropped():
            self.close()
        try:
            if self.settings.method == "GET":
                query = b"&".join(filter(None, (self._query, payload))).decode("ascii")
                self._connection.request("GET", f"{self._path}?{query}")
            else:
                target = f"{self._path}?{self._query.decode()}" if self._query else self._path
                content_type = _CONTENT_TYPES[self.settings.content]
                self._connection.request(
                    self.settings.method, target, payload, {"Content-Type": content_type}
                )
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return None, type(error).__name__
        return answer.status, None

    def close(self) -> None:
        """Hang up; the next payload connects anew."""
        self._connection.close()

    def _is_dropped(self) -> bool:
        """Whether the receiver has closed the connection while it was idle."""
        if self._connection.sock is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.sock, selectors.EVENT_READ)
            return bool(selector.select(timeout=0))
