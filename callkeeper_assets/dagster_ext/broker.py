"""Whether the broker that runs are sent by is there, and keeps what waits in it."""

import os
import re
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

import yaml

from callkeeper_assets.home import configured_broker_url, dagster_file
from callkeeper_assets.language import tr

_PATIENCE_SEC: Final = 5


class BrokerError(RuntimeError):
    """No broker is named, or it does not answer; the text says what to do."""


def find_broker_url() -> str:
    """Return the broker's URL as the launcher finds it: of `dagster.yaml`, then the variable's.

    Raises:
        BrokerError: There is none, or Celery is not installed, which is to reach it.
        UnreadableSecretError: See `read_secret`.
    """
    if find_spec("celery") is None:
        raise BrokerError(tr("Celery is not installed: pip install 'callkeeper-assets[celery]'"))
    launcher = yaml.safe_load(dagster_file().read_text("utf-8")).get("run_launcher") or {}
    named: Any = (launcher.get("config") or {}).get("broker")
    if isinstance(named, dict):
        # As Dagster reads it: {env: NAME}.
        named = os.environ.get(str(named.get("env")))
    url = named or configured_broker_url()
    if not url:
        raise BrokerError(
            tr(
                "No broker is named. Set CALLKEEPER_BROKER_URL, as redis://host:6379/0: "
                "docs/several-machines.md"
            )
        )
    return str(url)


def try_broker() -> tuple[str, str]:
    """Connect to the broker; return where it is, without a password, and its weakness, or "".

    Raises:
        BrokerError: No broker is named, or it does not answer.
    """
    url = find_broker_url()
    from kombu.connection import Connection  # noqa: PLC0415 -- comes with Celery
    from kombu.exceptions import OperationalError  # noqa: PLC0415

    where = re.sub(r"//[^/;]*@", "//", url)
    with Connection(url, connect_timeout=_PATIENCE_SEC) as connection:  # type: ignore[no-untyped-call]
        try:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE_SEC)
            channel = connection.default_channel
        except (OperationalError, OSError) as error:
            raise BrokerError(
                f"{where} cannot be reached: {error}. Runs wait until it is; check "
                "CALLKEEPER_BROKER_URL, and that the broker runs"
            ) from None
        # RabbitMQ keeps what waits; a rented Redis may not say whether it does.
        client = getattr(channel, "client", None)
        with suppress(Exception):
            if client is not None and client.config_get("appendonly")["appendonly"] == "no":
                return where, (
                    "it forgets at a restart what waits in it: set `appendonly yes` in its "
                    "configuration"
                )
    return where, ""
