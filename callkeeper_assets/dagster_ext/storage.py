"""What `dagster.yaml` names: Dagster's storage in the warehouse's PostgreSQL, and its runs' logs.

Every process of Dagster's finds both without a variable being set, and no URL with a password is
passed from process to process. Private of Dagster: `DagsterPostgresStorage` keeps its storages in
attributes, of which ours replace two; `PostgresRunStorage.add_run` and `handle_run_event`, which
every run and every change of its status passes, are overridden; `LocalComputeLogManager` is
exported nowhere, and neither is what it captures logs with.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import dagster as dg
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)
from dagster._utils import ensure_file, touch_file
from dagster_postgres import DagsterPostgresStorage, PostgresRunStorage, PostgresScheduleStorage
from psycopg import sql

from callkeeper_assets.dagster_ext import LOCATION
from callkeeper_assets.dagster_ext.dead_runs import COMMAND_LINE_TAG, build_rerun_tags
from callkeeper_assets.dagster_ext.event_log import BatchingEventLogStorage, recall
from callkeeper_assets.dagster_ext.shared_logs import SharedLogs
from callkeeper_assets.home import home, logs_url, make_folder
from callkeeper_assets.local_time import use_newest_rules
from callkeeper_assets.postgres.locks import (
    STORAGE_LOCK,
    Lock,
    held_run_lock,
    is_run_gone,
    tried_run_lock_alone,
)
from callkeeper_assets.postgres.url import build_options, check_writable, database_url

if TYPE_CHECKING:
    import sqlalchemy as sa
    from dagster._serdes import ConfigurableClassData

# People who read the warehouse see its tables in `public`, and none of Dagster's.
SCHEMA = "dagster"
# By these Dagster finds whether its runs', events' and schedules' tables have been made.
_MAIN_TABLES = ("runs", "instance_info", "event_logs", "jobs")
# Is there while they are made.
_UNFINISHED = "callkeeper_unfinished"
_LIST_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
_INSTIGATORS = "instigators"
_EVENTS_AT_ONCE = "1000"
_RECYCLE_SEC = 3600
_KEPT_CONNECTIONS = 3
_MOST_CONNECTIONS = 60
_RUN_ENDS: Final = {
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
}
# By its names Dagster finds it again, whatever its code server's address is by then.
_REPOSITORY: Final = RemoteRepositoryOrigin(
    GrpcServerCodeLocationOrigin("127.0.0.1", location_name=LOCATION), "__repository__"
)
_RUN_UNDER_WAY: Final = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED}
# The server's, to notice that a process which was killed this moment has gone.
_GONE_PATIENCE_SEC: Final = 2.0


class _Known(NamedTuple):
    """A database that this process has opened a storage in: its tables are there.

    Attributes:
        url: Of Dagster's tables.
        engine: With connections, and statements that have been compiled; each evaluation of a
            schedule or a sensor opens a storage of its own, and would begin without either. One
            for runs, events and schedules: a thread uses one of them after the other.
    """

    url: str
    engine: "sa.Engine"


_known: dict[tuple[str, str], _Known] = {}
# More options of the connections of a storage that is opened.
_waits = ""


@contextmanager
def short_waits() -> Iterator[None]:
    """Let no statement of a storage opened meanwhile wait longer than 5 s for a table.

    Behind one that waits to change a table, everybody else waits who reads it.
    """
    global _waits  # noqa: PLW0603 -- Dagster opens the storage, and passes nothing on
    _waits = " -c lock_timeout=5s"
    try:
        yield
    finally:
        _waits = ""


def storage_url(url: str, server_version: int = 0) -> str:
    """Return the URL by which Dagster's tables are found: search path, UTF-8, our settings."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["client_encoding"] = "UTF8"
    options = build_options(query.get("options", ""), server_version=server_version)
    query["options"] = f"{options} -c search_path={SCHEMA}{_waits}"
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def _build_engine(url: str) -> "sa.Engine":
    """Build what uses connections again: Dagster otherwise opens a new one for each event."""
    import sqlalchemy as sa  # noqa: PLC0415 -- Dagster's storages have it by now

    return sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=_KEPT_CONNECTIONS,
        pool_recycle=_RECYCLE_SEC,
        max_overflow=_MOST_CONNECTIONS - _KEPT_CONNECTIONS,
        pool_use_lifo=True,
    )


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
        made = connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()
        if made == (None,):
            # Not IF NOT EXISTS: a role that knows Dagster's tables alone may make no schema.
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
        tables = {name for (name,) in connection.execute(_LIST_TABLES, (SCHEMA,)).fetchall()}
        if _UNFINISHED in tables:
            for name in tables:
                table = sql.Identifier(SCHEMA, str(name))
                connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(table))
            tables = set()
        # Dagster makes them one by one, each for good, and looks for one of them: the others would
        # be missing for ever where the process that makes them is killed.
        mark = sql.Identifier(SCHEMA, _UNFINISHED)
        is_new = not tables.intersection(_MAIN_TABLES)
        if is_new:
            connection.execute(sql.SQL("CREATE TABLE {} ()").format(mark))
        yield tables.issuperset(_MAIN_TABLES), connection.info.server_version
        if is_new:
            connection.execute(sql.SQL("DROP TABLE {}").format(mark))


class RunEndedError(RuntimeError):
    """A run was marked as ended before its process came to start it."""


class LockingRunStorage(PostgresRunStorage):
    """The runs; a process that starts one here holds its lock.

    It takes the lock before it says that it has started, and holds it to the end, so that a run
    under way without its lock is dead; and the end frees the run's keys.
    """

    # For who only knows Dagster's type (`dagster_ext.dead_runs`).
    holds_run_locks: Final = True

    def __init__(self, postgres_url: str, url: str, free_keys: Callable[[str], None]) -> None:
        """Open the storage, whose tables are there.

        Args:
            postgres_url: Of Dagster's tables.
            url: Of the database, for locks.
            free_keys: Frees what a run holds of its pools.
        """
        self.url = url
        self._free_keys = free_keys
        self._holds: dict[str, ExitStack] = {}
        super().__init__(postgres_url, should_autocreate_tables=False)

    @cached_property
    def _has_stats_columns(self) -> bool:
        return bool(super().has_run_stats_index_cols())

    def has_run_stats_index_cols(self) -> bool:
        """Ask once: Dagster asks at each event that changes a run. Columns stay."""
        return self._has_stats_columns

    def add_run(self, dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        """Add a run; one of the command line belongs to its job, as if Dagster had launched it.

        Without an origin the UI shows it neither on its timeline nor in the job's history.
        """
        if COMMAND_LINE_TAG in dagster_run.tags and dagster_run.remote_job_origin is None:
            origin = RemoteJobOrigin(_REPOSITORY, dagster_run.job_name)
            super().add_run(dagster_run.with_job_origin(origin))
            return dagster_run
        return super().add_run(dagster_run)

    def handle_run_event(
        self, run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None
    ) -> None:
        """Change a run's status by an event.

        Raises:
            RunEndedError: It says that the run has started, and the run has ended.
        """
        if event.event_type == dg.DagsterEventType.RUN_START:
            self._hold(run_id)
        super().handle_run_event(run_id, event, update_timestamp)
        # Not before: a run without its lock must not look like one that is under way.
        if event.event_type in _RUN_ENDS:
            self._let_go(run_id)

    def expect_failure(self, run_id: str) -> None:
        """Mark a run as lost if it is to fail and its own process cannot be who says so.

        Dagster's code server notices that a process it started was killed, and its daemon that one
        never started. To be called before the failure is stored: who runs lost runs again reads it.
        """
        if run_id in self._holds:
            return
        run = self._get_run_by_id(run_id)
        # Who is cancelled, or stopped since it took too long, is not lost.
        if run is None or run.status not in _RUN_UNDER_WAY:
            return
        tags = build_rerun_tags(run)
        if tags and is_run_gone(self.url, run_id, _GONE_PATIENCE_SEC):
            self.add_run_tags(run_id, tags)

    def _hold(self, run_id: str) -> None:
        with ExitStack() as hold:
            hold.enter_context(held_run_lock(self.url, run_id))
            run = self._get_run_by_id(run_id)
            if run is not None and run.is_finished:
                raise RunEndedError(
                    f"Run {run_id} was marked as {run.status.value} before its process had "
                    "started. Nothing was done; if it was lost, it is run again."
                )
            self._holds[run_id] = hold.pop_all()

    def _let_go(self, run_id: str) -> None:
        hold = self._holds.pop(run_id, None)
        if hold is not None:
            with hold:
                self._free_keys(run_id)
            return
        # Somebody else ended it. While its process lives it may use its keys: the janitor looks.
        with tried_run_lock_alone(self.url, run_id) as is_gone:
            if is_gone:
                self._free_keys(run_id)


class RecallingScheduleStorage(PostgresScheduleStorage):
    """The schedules, whose tables are asked for once; Dagster asks some ten times a tick."""

    def has_instigators_table(self) -> bool:
        """Ask once: tables stay."""
        return _INSTIGATORS in recall(self._engine) or super().has_instigators_table()

    def _has_instigators_table(self, conn: "sa.Connection") -> bool:
        found = recall(self._engine)
        if _INSTIGATORS not in found and super()._has_instigators_table(conn):
            found.add(_INSTIGATORS)
        return _INSTIGATORS in found

    def has_built_index(self, migration_name: str) -> bool:
        """Ask once: indexes stay."""
        found = recall(self._engine)
        if migration_name not in found and super().has_built_index(migration_name):
            found.add(migration_name)
        return migration_name in found


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
        # Of the daemon and the web server, too: their days are the sources' days.
        use_newest_rules()
        url = database_url()
        known = _known.get((url, _waits))
        if known is None:
            with _schema_to_oneself(url) as (is_complete, server_version):
                storage = cls(
                    storage_url(url, server_version),
                    should_autocreate_tables=not is_complete,
                    inst_data=inst_data,
                )
        else:
            storage = cls(known.url, should_autocreate_tables=False, inst_data=inst_data)
        storage._use_ours(url)
        if known is None:
            engine = _build_engine(storage.postgres_url)
            known = _known[url, _waits] = _Known(storage.postgres_url, engine)
        for part in storage._list_parts():
            part._engine = known.engine  # noqa: SLF001
        return storage

    def _use_ours(self, url: str) -> None:
        runs = LockingRunStorage(self.postgres_url, url, self._free_keys)
        self._run_storage = runs
        self._event_log_storage = BatchingEventLogStorage(self.postgres_url, runs.expect_failure)
        self._schedule_storage = RecallingScheduleStorage(
            self.postgres_url, should_autocreate_tables=False
        )

    def _list_parts(self) -> tuple[Any, ...]:
        return (self._run_storage, self._event_log_storage, self._schedule_storage)

    def _free_keys(self, run_id: str) -> None:
        self._event_log_storage.free_concurrency_slots_for_run(run_id)


class CallKeeperLogs(LocalComputeLogManager):
    """What runs print, in `CALLKEEPER_HOME/logs`, or beside raw calls in an object store."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Take no configuration: the folder is the home's."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override] # any manager of logs will do
        cls,
        inst_data: "ConfigurableClassData | None",
        config_value: Mapping[str, Any],  # noqa: ARG003 -- empty, Dagster's signature
    ) -> Self | SharedLogs:
        """Open the logs' place."""
        # Dagster would make the folder, and the home with it, for everybody to read.
        make_folder(home() / "logs")
        captured, url = cls(os.fspath(home() / "logs"), inst_data=inst_data), logs_url()
        return SharedLogs(url, captured) if url else captured

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Write what a step prints to its files alone.

        Dagster would show it on the process's own output as well: by four more processes a step,
        two of them Python, which take as long as the rest of a small step.
        """
        paths = [
            self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        ]
        for path in paths:
            ensure_file(path)
        with redirect_to_file(sys.stdout, paths[0]), redirect_to_file(sys.stderr, paths[1]):
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]
