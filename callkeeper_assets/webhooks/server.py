"""Runs the receiver as this process, until it is told to stop.

uvicorn with what its defaults leave open closed: no access log of its own (it would have the
tokens), no name of itself, no WebSockets, bounded connections.
"""

import asyncio
import gc
import logging
import socket
from collections.abc import Sequence
from typing import Final

import uvicorn

from callkeeper_assets.config.source import Source
from callkeeper_assets.home import home, keep_memory
from callkeeper_assets.privacy.redaction import RedactingFilter
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.intake import Intake, Metrics
from callkeeper_assets.webhooks.protocol import KEEP_ALIVE_SEC, WebhookProtocol, sweep
from callkeeper_assets.webhooks.receiver import AccessLog, Gate, Receiver
from callkeeper_assets.webhooks.spool import Spool

_logger = logging.getLogger(__name__)

_OBJECTS_BEFORE_GC: Final = 100_000
_KEPT_BYTES: Final = 1 << 26
_FETCHED_BYTES: Final = 1 << 22
# Supervisors kill after 8 to 10 s.
_FAREWELL_SEC: Final = 6


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays, and what waits for a commit is no garbage either: looking through
        # both again and again was a seventh of a request's cost.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BEFORE_GC)
        # Held here: the loop itself would let go of it.
        self._sweeper = asyncio.create_task(sweep(lambda: self.server_state.connections))
        _logger.info(
            "The webhook receiver listens at http://%s:%d", self.config.host, self.config.port
        )


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("callkeeper_assets").setLevel(logging.INFO)
    # It warns of each request that is no HTTP; the access log has them.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def run_receiver(host: str, port: int, sources: Sequence[Source]) -> None:
    """Receive the webhooks of these sources until SIGINT or SIGTERM; then end in order.

    Raises:
        KeyboardInterrupt: It was told to stop, and has; the signal is passed on.
    """
    keep_memory(_KEPT_BYTES, _FETCHED_BYTES)
    _configure_logging()
    metrics = Metrics()
    gate = Gate(sources)
    intake = Intake(Inbox(gate.renamed, gate.rules), Spool(home() / "spool"), metrics)
    receiver = Receiver(gate, intake, metrics, AccessLog())
    config = uvicorn.Config(
        receiver,
        host,
        port,
        loop="uvloop",
        http=WebhookProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SEC,
        timeout_graceful_shutdown=_FAREWELL_SEC,
    )
    _Server(config).run()
