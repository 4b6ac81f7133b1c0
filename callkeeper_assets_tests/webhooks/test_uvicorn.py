"""What uvicorn has to keep for our connections (`webhooks.protocol`): on a newer one, what broke.

uvicorn promises none of it. Each breach is a sentence: what is gone or reads otherwise. That it
does the same as before is seen by the tests of the receiver and of hostile senders.
"""

import asyncio
import inspect
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import ServerState

from callkeeper_assets.home import project_root
from callkeeper_assets.webhooks import server
from callkeeper_assets.webhooks.receiver import TEXTS
from callkeeper_assets.webhooks.server import WebhookProtocol

# By our class, the base's methods that it overrides, with their parameters in order.
_OVERRIDDEN: Final[dict[type, dict[str, tuple[str, ...]]]] = {
    WebhookProtocol: {
        "connection_made": ("transport",),
        "data_received": ("data",),
        "on_message_begin": (),
        "on_url": ("url",),
        "on_header": ("name", "value"),
        "on_headers_complete": (),
        "on_body": ("body",),
        "on_message_complete": (),
        "on_response_complete": (),
        "send_400_response": ("msg",),
        "shutdown": (),
    },
    server._Server: {"startup": ("sockets",)},
}
# What a connection, a request and the server have that we read or set.
_OF_CONNECTION: Final = (
    *("config", "loop", "transport", "connections", "server_state", "parser"),
    *("url", "headers", "expect_100_continue", "cycle"),
)
_OF_REQUEST: Final = (
    *("response_started", "response_complete", "more_body", "disconnected"),
    *("message_event", "keep_alive"),
)
_OF_SERVER: Final = ("connections", "total_requests", "default_headers")
_OF_PARSER: Final = ("get_method", "should_keep_alive")
# Made by us alone: uvicorn must not begin to use the same names.
_OURS: Final = frozenset(
    {"_head_size", "_has_begun", "_deadline", "idle_until", "_is_deaf", "_is_refused"}
    | {"_receiver", "_request", "_is_whole", "_is_taken", "_ends"}
)


async def _answer_nobody(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("nobody asks")


def _connect(kind: type[Any]) -> Any:  # noqa: ANN401 -- uvicorn's
    config = uvicorn.Config(_answer_nobody, http=kind, ws="none", lifespan="off", log_config=None)
    config.load()
    return kind(config=config, server_state=ServerState(), app_state={}, _loop=object())


def _compare_methods(ours: type[Any], theirs: type[Any]) -> Iterator[str]:
    methods = _OVERRIDDEN[ours]
    for name, expected in methods.items():
        method = getattr(theirs, name, None)
        if method is None:
            yield f"{theirs.__name__}.{name} is gone, which {ours.__name__} overrides."
            continue
        found = tuple(inspect.signature(method).parameters)[1:]
        if found != expected:
            yield f"{theirs.__name__}.{name} takes {found}, {ours.__name__} passes {expected}."
    also = {one for one in vars(ours) if not one.startswith("__")} & set(dir(theirs))
    for name in sorted(also - set(methods)):
        yield f"{theirs.__name__} has a {name} now, which {ours.__name__} has for itself."


def _compare_connection(base: type[Any]) -> Iterator[str]:
    connection = _connect(base)
    # Made with a request.
    of_request = inspect.getsource(base.on_message_begin)
    for name in _OF_CONNECTION:
        if not hasattr(connection, name) and f"self.{name} =" not in of_request:
            yield f"A connection of uvicorn's has no {name} any more."
    for name in _OF_PARSER:
        if not hasattr(connection.parser, name):
            yield f"The parser of uvicorn's connections has no {name} any more."
    for name in sorted(_OURS & set(vars(connection))):
        yield f"A connection of uvicorn's has a {name} now, which ours has for itself."


def _list_breaches(base: type[Any], cycle: type[Any], state: type[Any]) -> Iterator[str]:
    """Yield what uvicorn has otherwise than it is relied on."""
    for ours in _OVERRIDDEN:
        yield from _compare_methods(ours, uvicorn.Server if ours is server._Server else base)
    yield from _compare_connection(base)
    made = inspect.getsource(cycle.__init__)
    for name in _OF_REQUEST:
        if f"self.{name} =" not in made:
            yield f"A request of uvicorn's ({cycle.__name__}) has no {name} any more."
    for name in _OF_SERVER:
        if not hasattr(state(), name):
            yield f"The server's state of uvicorn has no {name} any more."


def test_uvicorn_is_what_the_receiver_relies_on() -> None:
    breaches = list(
        _list_breaches(
            httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle, ServerState
        )
    )
    assert breaches == [], f"uvicorn {uvicorn.__version__}:\n" + "\n".join(breaches)


def test_every_status_has_its_line() -> None:
    for status in (*TEXTS, 408, 431):
        line = httptools_impl.STATUS_LINE[status]
        assert line.startswith(b"HTTP/1.1 %d " % status)
        assert line.endswith(b"\r\n")


def test_all_that_ours_has_for_itself_is_known_here() -> None:
    """Else a name that uvicorn begins to use would not be noticed."""
    made = set(vars(_connect(WebhookProtocol))) - set(
        vars(_connect(httptools_impl.HttpToolsProtocol))
    )
    assert made == _OURS


def test_a_breach_is_a_sentence_that_says_what_changed() -> None:
    class Newer(httptools_impl.HttpToolsProtocol):
        on_url = None  # type: ignore[assignment]

        def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
            super().__init__(*arguments, **named)
            self._deadline = 1.0
            del self.connections

        def on_body(self, chunk: bytes) -> None:
            """Take a part."""

        def expire(self) -> None:
            """Something else than ours."""

    class Cycle(httptools_impl.RequestResponseCycle):
        def __init__(self) -> None:
            self.response_started = self.response_complete = self.more_body = False
            self.keep_alive = False
            self.message_event = asyncio.Event()

    class State:
        connections: Final = ()
        total_requests = 0

    assert list(_list_breaches(Newer, Cycle, State)) == [
        "Newer.on_url is gone, which WebhookProtocol overrides.",
        "Newer.on_body takes ('chunk',), WebhookProtocol passes ('body',).",
        "Newer has a expire now, which WebhookProtocol has for itself.",
        "A connection of uvicorn's has no connections any more.",
        "A connection of uvicorn's has a _deadline now, which ours has for itself.",
        "A request of uvicorn's (Cycle) has no disconnected any more.",
        "The server's state of uvicorn has no default_headers any more.",
    ]


@pytest.mark.parametrize("name", ["uvicorn", "starlette", "httptools", "uvloop"])
def test_the_version_is_bounded_above(name: str) -> None:
    project = tomllib.loads((project_root() / "pyproject.toml").read_text("utf-8"))["project"]
    [wanted] = [one for one in project["dependencies"] if one.startswith(name)]
    assert "<" in wanted
