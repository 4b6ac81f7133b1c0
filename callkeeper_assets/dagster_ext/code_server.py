"""Dagster's code server, of one process: `python -m callkeeper_assets.dagster_ext.code_server …`.

Dagster's own `code-server` is two: one that listens, and one that has the code, which it replaces
when somebody reloads. This one ends when it is to reload; who keeps it alive starts it again with
the code of that moment. Its arguments are those of `dagster api grpc`.
"""

import logging
import os
import threading
from typing import Any, Final

from dagster._cli.api import grpc_command
from dagster._grpc.server import DagsterApiServer

_LOGGER: Final = logging.getLogger(__name__)
# Until the answer to who reloads has gone out.
_UNTIL_SENT_SEC: Final = 0.2
# Tells who keeps it alive that it is no failure.
RELOADED: Final = 75

_answer = DagsterApiServer.ReloadCode


def _reload(self: DagsterApiServer, request: Any, context: Any) -> Any:  # noqa: ANN401 -- gRPC's
    threading.Timer(_UNTIL_SENT_SEC, os._exit, [RELOADED]).start()
    return _answer(self, request, context)


def main() -> None:
    """Serve, until somebody reloads the code or a signal ends the process."""
    logging.getLogger("dagster").addFilter(lambda record: "code-server start" not in record.msg)
    DagsterApiServer.ReloadCode = _reload  # type: ignore[method-assign]
    grpc_command()


if __name__ == "__main__":
    main()
