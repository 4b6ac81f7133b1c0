"""Dagster's web server on a socket that is there already, and no longer than somebody looks.

`python -m callkeeper_assets.dagster_ext.web_server FILE …`: the number of the listening socket's
file, then the arguments of `dagster-webserver`. Who holds the socket starts it when somebody
connects. A page that is open keeps a connection.
"""

import socket
import sys
import time
from typing import Any, Final

import uvicorn
from dagster_webserver.cli import main as serve_pages

_UNUSED_SEC: Final = 600.0


class _Server(uvicorn.Server):
    """Ends when nobody has been connected for a while."""

    _used_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; asked ten times a second."""
        if self.server_state.connections:
            self._used_at = time.monotonic()
        is_unused = time.monotonic() - self._used_at > _UNUSED_SEC
        return is_unused or await super().on_tick(counter)


def main() -> None:
    """Serve until a signal ends the process, or nobody looks any more."""
    listener = socket.socket(fileno=int(sys.argv.pop(1)))

    def run(app: Any, *, log_level: str, **_: object) -> None:  # noqa: ANN401 -- uvicorn's
        _Server(uvicorn.Config(app, log_level=log_level)).run(sockets=[listener])

    # Dagster's command says where to listen, and takes no socket.
    uvicorn.run = run  # type: ignore[assignment]
    serve_pages()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
