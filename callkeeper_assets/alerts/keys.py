"""Asks each source once a day whether its key is good, and until when its account is paid.

Sooner where something is wrong with the source. What it said is kept for whoever looks; only one
process asks, and one that has no answer leaves what was known.
"""

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from callkeeper_assets.alerts.facts import read_sql
from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import AbortError, CallKeeperError
from callkeeper_assets.callkeeper.session import RetryPolicy
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres import connect
from callkeeper_assets.privacy.redaction import redact

_LATER: Final = timedelta(days=1)
_SOON: Final = timedelta(hours=1)
_TIMEOUT_SEC: Final = 10.0
# Side by side, and all of one time: nobody is kept from telling what else there is.
_AT_ONCE: Final = 8
_logger = logging.getLogger(__name__)


def check_keys(url: str, sources: Sequence[Source], doubtful: Collection[str]) -> int:
    """Ask some of the sources that are due, of those that the warehouse knows; return how many.

    Args:
        url: Of the database.
        sources: All of them.
        doubtful: Names of those with something wrong, which are asked each hour.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    names = [source.name for source in sources]
    values: dict[str, object] = {
        "names": names,
        "doubtful": list(doubtful),
        "soon": _SOON,
        "later": _LATER,
    }
    values["most"] = _AT_ONCE
    with connect(url) as connection:
        rows = connection.execute(read_sql("claim_keys"), values).fetchall()
    claimed = {name for (name,) in rows}
    due = [source for source in sources if source.name in claimed]
    if due:
        with ThreadPoolExecutor(_AT_ONCE) as executor:
            list(executor.map(lambda source: _check_key(url, source), due))
    return len(due)


def _check_key(url: str, source: Source) -> None:
    try:
        paid_till, error = _ask(source), None
    except AbortError as refusal:
        paid_till, error = None, redact(str(refusal))
    except (CallKeeperError, MissingSecretError) as failure:
        # Not the key's fault, or told otherwise.
        _logger.info("%s", failure)
        return
    with connect(url) as connection:
        values = {"name": source.name, "paid_till": paid_till, "error": error}
        connection.execute(read_sql("note_key"), values)


def _ask(source: Source) -> datetime | None:
    with CallKeeperClient(
        source=source.name,
        api_key=source.read_api_key(),
        api=source.api,
        role=source.role,
        base_url=source.base_url,
        time_zone=source.time_zone,
        parallel_days=1,
        timeout_sec=_TIMEOUT_SEC,
        retry=RetryPolicy(retries=1, longest_retry_after_sec=2.0),
        key_name=f"the environment variable {source.api_key_env}",
        check_answers_from=source.check_answers_from,
    ) as client:
        return client.get_user_info().paid_till
