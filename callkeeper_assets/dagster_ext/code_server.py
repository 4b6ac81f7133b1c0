"""Dagster's code server, of one process: `python -m callkeeper_assets.dagster_ext.code_server …`.

Dagster's own `code-server` is two: one that listens, and one that has the code, which it replaces
when somebody reloads. This one ends when it is to reload; who keeps it alive starts it again with
the code of that moment. Its arguments are those of `dagster api grpc`.
"""

import os
import threading
from typing import Any, Final

from dagster._cli.api import grpc_command
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer
from grpc import _common as grpc_waiting  # type: ignore[import-untyped]

from callkeeper_assets.dagster_ext import RELOADED

# Until the answer to who reloads has gone out.
_UNTIL_SENT_SEC: Final = 0.2
# gRPC's main thread wakes ten times a second, lest a signal finds it asleep, which was most of
# what an idle code server took of a core.
_BETWEEN_WAKINGS_SEC: Final = 1.0


def _reload(*_: object) -> Any:  # noqa: ANN401 -- gRPC's
    threading.Timer(_UNTIL_SENT_SEC, os._exit, [RELOADED]).start()
    return dagster_api_pb2.ReloadCodeReply()


def main() -> None:
    """Serve, until somebody reloads the code or a signal ends the process."""
    grpc_waiting.MAXIMUM_WAIT_TIMEOUT = _BETWEEN_WAKINGS_SEC
    DagsterApiServer.ReloadCode = _reload  # type: ignore[assignment,method-assign]
    grpc_command()


if __name__ == "__main__":
    main()
