"""A connection that webhooks come by: each is collected and answered here, without ASGI.

ASGI's task, messages and futures cost as much as all that is done with a webhook. What is no
webhook, `/health` and `/metrics`, goes that way. A request that is sent before the one ahead of it
is answered is not taken: the connection ends after that answer, and its sender sends it again.
"""

import re
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from callkeeper_assets.webhooks.protocol import BoundedProtocol
from callkeeper_assets.webhooks.receiver import METHODS, TEXTS, Receiver, Request

_LARGEST_BODY: Final = 1024 * 1024
_PREFIX: Final = b"/webhooks/"
# Host and path are typed apart in CallKeeper's cabinet: slashes come doubled, and at the end.
_SLASHES: Final = re.compile(rb"/{2,}")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def _build_rest(status: int) -> bytes:
    body = TEXTS[status].encode()
    lines = [b"content-length: %d\r\n" % len(body)]
    if body:
        lines.append(b"content-type: text/plain; charset=utf-8\r\n")
    if status == 405:  # noqa: PLR2004 -- HTTP's own number
        lines.append(b"allow: %s\r\n" % b", ".join(sorted(METHODS)))
    return b"".join([*lines, b"\r\n", body])


# What follows the status and the date.
_RESTS: Final = {status: _build_rest(status) for status in TEXTS}
_HEADS: Final = {
    status: rest.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for status, rest in _RESTS.items()
}


class WebhookProtocol(BoundedProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **named)
        self._receiver = cast("Receiver", self.config.loaded_app)
        # A webhook from its head on, until it is answered.
        self._request: Request | None = None
        self._is_whole = False
        self._is_taken = False
        # Whether the connection ends with the answer.
        self._ends = False

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a webhook that is whole by then is handed over."""
        super().data_received(data)
        # Not within the parser, which takes an error of ours for one of the sender.
        if self._is_whole and not self._is_taken:
            self._is_taken = True
            self._receiver.take(cast("Request", self._request), self._answer)

    def on_headers_complete(self) -> None:
        """Begin a webhook; leave anything else to ASGI."""
        cycle = self._find_cycle()
        if cycle is not None and not cycle.response_complete:
            self._is_deaf = True
            cycle.keep_alive = False
        if self._request is not None or self._is_deaf:
            raise ValueError("sent before the one ahead is answered")
        if not self.url.startswith(_PREFIX) and not self._straighten():
            super().on_headers_complete()
            return
        self._await_body()
        self._begin()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; who is not let in sends his to nobody."""
        request = self._request
        if request is None:
            if not self._is_deaf:
                super().on_body(body)
        elif not request.status:
            request.size += len(body)
            request.parts.append(body)
            if request.size > _LARGEST_BODY:
                self._refuse_size()

    def on_message_complete(self) -> None:
        """Note that the webhook is whole."""
        if self._request is not None:
            self._end_message()
            self._is_whole = True
        elif not self._is_deaf:
            super().on_message_complete()

    def expire(self, now: float) -> None:
        """End the connection if its time is over; never while it is our turn."""
        if not self._is_whole:
            super().expire(now)

    def _refuse_slow(self) -> None:
        status = self._request.status if self._request else 0
        if status:
            # What he does not send would have changed nothing.
            self._refuse(status, _RESTS[status])
        else:
            super()._refuse_slow()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; after a webhook that is whole, end with the answer to that."""
        if self._is_whole:
            self._is_deaf = self._ends = True
        else:
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """End: at once, or after the answer to what has begun."""
        if self._request is not None:
            self._ends = True
        else:
            super().shutdown()

    def note_refused(self, status: int) -> None:
        """Note what is refused before it is whole."""
        self._receiver.note(self._request or Request(), status)
        self._request = None

    def _straighten(self) -> bool:
        """Take superfluous slashes out of the path; return whether it is a webhook's then."""
        path, mark, query = self.url.partition(b"?")
        path = _SLASHES.sub(b"/", path)
        if not path.startswith(_PREFIX):
            return False
        self.url = path + mark + query
        return True

    def _begin(self) -> None:
        path, _, query = self.url.partition(b"?")
        if b"//" in path or path.endswith(b"/"):
            path = _SLASHES.sub(b"/", path).rstrip(b"/")
        if b"%" in path:
            path = unquote_to_bytes(path)
        method = self.parser.get_method()
        self._request = request = Request(method, query, self.headers)
        self._ends = not self.parser.should_keep_alive()
        self._receiver.admit(request, path.removeprefix(_PREFIX))
        if request.status:
            return
        length = request.find_header(b"content-length")
        if length.isdecimal() and int(length) > _LARGEST_BODY:
            self._refuse_size()
        elif self.expect_100_continue:
            self.transport.write(_CONTINUE)

    def _refuse_size(self) -> None:
        self._refuse(413, _RESTS[413])

    def _answer(self, request: Request, status: int) -> None:
        """Answer the webhook, and let the next one come."""
        self._request = None
        self._is_whole = self._is_taken = False
        self.server_state.total_requests += 1
        self._receiver.note(request, status)
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        if self._ends:
            parts.append(b"connection: close\r\n")
        # The answer to a HEAD, which is 405, is a head.
        parts.append(_RESTS[status] if request.method != b"HEAD" else _HEADS[status])
        self.transport.write(b"".join(parts))
        if self._ends:
            self.transport.close()
        else:
            self._await_request()
