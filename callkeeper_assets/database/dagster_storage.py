"""Dagster's storage in the same PostgreSQL as the warehouse, in a schema of its own.

`dagster.yaml` names this class, so every process of Dagster's (web server, daemon, code server,
run worker, `dg`) finds its storage without a variable being set, and no URL with a password is
passed from process to process.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dagster_postgres import DagsterPostgresStorage

from callkeeper_assets.database.event_log import BatchingEventLogStorage
from callkeeper_assets.database.locks import Lock
from callkeeper_assets.database.settings import build_options
from callkeeper_assets.database.url import STORAGE_LOCK, check_writable, database_url
from callkeeper_assets.runs.storage import LockingRunStorage

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData

# People who read the warehouse see its tables in `public`, and none of Dagster's.
SCHEMA = "dagster"
# By these Dagster tells whether its runs', events' and schedules' tables have been made.
_MAIN_TABLES = ("runs", "instance_info", "event_logs", "jobs")
_EVENTS_AT_ONCE = "1000"
_RECYCLE_SEC = 3600
_MOST_CONNECTIONS = 20


def storage_url(url: str, server_version: int = 0) -> str:
    """Return the URL by which Dagster's tables are found: search path, UTF-8, our settings."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["client_encoding"] = "UTF8"
    options = build_options(query.get("options", ""), server_version=server_version)
    query["options"] = f"{options} -c search_path={SCHEMA}"
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


@contextmanager
def _schema_to_oneself(url: str) -> Iterator[tuple[bool, int]]:
    """Make the schema, and hold it: Dagster's own creation of tables fails when processes race.

    Yields whether its tables are there, which Dagster takes a tenth of a second to find out, and
    the server's version.
    """
    with Lock(url, "the making of Dagster's tables") as lock:
        connection = lock.connection
        check_writable(connection)
        lock.wait(STORAGE_LOCK)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        found = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = ANY(%s)",
            (SCHEMA, list(_MAIN_TABLES)),
        ).fetchone()
        yield found == (len(_MAIN_TABLES),), connection.info.server_version


class CallKeeperStorage(DagsterPostgresStorage):
    """Runs, events and schedules, in the schema `dagster` of the database in use."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Take no configuration: the database's URL is the environment's."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: "ConfigurableClassData | None",
        config_value: Mapping[str, Any],  # noqa: ARG003 -- empty, Dagster's signature
    ) -> Self:
        """Open the storage; the first process of all makes its tables.

        Raises:
            DatabaseError: the database cannot be used.
        """
        # Read by Dagster at each event of a run: how many materializations it writes at once.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _EVENTS_AT_ONCE)
        url = database_url()
        with _schema_to_oneself(url) as (is_complete, server_version):
            storage = cls(
                storage_url(url, server_version),
                should_autocreate_tables=not is_complete,
                inst_data=inst_data,
            )
        storage._use_ours(url)
        storage._keep_connections()
        return storage

    def _use_ours(self, url: str) -> None:
        runs = LockingRunStorage(self.postgres_url, url, self._free_keys)
        self._run_storage = runs
        self._event_log_storage = BatchingEventLogStorage(self.postgres_url, runs.expect_failure)

    def _free_keys(self, run_id: str) -> None:
        self._event_log_storage.free_concurrency_slots_for_run(run_id)

    def _keep_connections(self) -> None:
        """Use connections again: Dagster otherwise opens a new one for each event."""
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=0, pool_recycle=_RECYCLE_SEC, max_overflow=_MOST_CONNECTIONS
            )
