"""An instance of Dagster that has been used before a process forks, for the runs forked from it.

What a process learns as it first uses the storage (which columns its tables have, how each
statement is compiled) takes a run of a few days as long as its work. Here a small job is run once,
in transactions that are undone, and all connections are closed. A fork opens its own.

Private of Dagster: the engine of a storage, and the attribute that holds the logs' manager.
"""

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._serdes import serialize_value

from callkeeper_assets.dagster_ext.storage import LockingRunStorage, short_waits
from callkeeper_assets.postgres.url import connect, database_url

_LOGGER: Final = logging.getLogger(__name__)
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_DAYS: Final = dg.DailyPartitionsDefinition("2000-01-01", end_date="2000-01-04")
_CHECK: Final = "callkeeper_warming"


@dg.multi_asset(
    specs=[
        dg.AssetSpec("callkeeper_warming"),
        dg.AssetSpec("callkeeper_warmed", deps=["callkeeper_warming"]),
    ],
    check_specs=[dg.AssetCheckSpec(_CHECK, asset="callkeeper_warmed")],
    partitions_def=_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="callkeeper_warming",
)
def _warm() -> Iterator[Any]:
    for name in ("callkeeper_warming", "callkeeper_warmed"):
        yield dg.MaterializeResult(asset_key=name, metadata={"calls": 1})
    yield dg.AssetCheckResult(
        passed=True, asset_key="callkeeper_warmed", check_name=_CHECK, metadata={"calls": 1}
    )


class WarmInstance:
    """One, or none where it could not be had: then a run opens its own, as it would anyway."""

    def __init__(self) -> None:
        """Open it, use it, and close its connections.

        Its settings are those of this moment: `take` compares them.
        """
        self._instance: dg.DagsterInstance | None = None
        try:
            with short_waits():
                instance = dg.DagsterInstance.get()
            storage = instance.run_storage
            if isinstance(storage, LockingRunStorage):
                self._url = storage.url
                self._reference = serialize_value(instance.get_ref())
                with connect(self._url):
                    pass  # what it learns of the server counts for the forks
                _use(instance)
                self._instance = instance
        except Exception:
            _LOGGER.warning("Runs start without what could be prepared.", exc_info=True)

    def take(self, reference: str) -> dg.DagsterInstance | None:
        """Return it if it is that of the reference, and its database is where it was."""
        if self._instance is None or self._reference != reference or self._url != database_url():
            return None
        return self._instance


def _use(instance: dg.DagsterInstance) -> None:
    storage: Any = instance.run_storage
    engine: sa.Engine = storage._engine  # noqa: SLF001 -- that of events and schedules, too
    job = dg.Definitions(
        assets=[_warm], jobs=[dg.define_asset_job("callkeeper_warming", [_warm])]
    ).resolve_job_def("callkeeper_warming")
    run_id = str(uuid.uuid4())
    days = {"dagster/asset_partition_range_start": "2000-01-01"}
    days["dagster/asset_partition_range_end"] = "2000-01-02"
    with _undone(engine), _without_logs(instance):
        job.execute_in_process(instance=instance, run_id=run_id, tags=days, run_config=_QUIET)


@contextmanager
def _undone(engine: sa.Engine) -> Iterator[None]:
    """Let nothing of what is written meanwhile stay: each connection's transaction is undone."""

    def begin(connection: Any, _: object) -> None:  # noqa: ANN401 -- the driver's
        # SQLAlchemy has asked the first one's server, and could not end that.
        connection.rollback()
        # It commits each statement by itself, if no transaction is open.
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'; BEGIN")

    with ExitStack() as stack:
        engine.dispose()
        sa.event.listen(engine, "connect", begin)
        # Who asks for a transaction of its own would end ours.
        for name in ("do_commit", "do_rollback", "set_isolation_level"):
            setattr(engine.dialect, name, lambda *_: None)
            stack.callback(delattr, engine.dialect, name)
        stack.callback(engine.dispose)
        stack.callback(sa.event.remove, engine, "connect", begin)
        yield


@contextmanager
def _without_logs(instance: dg.DagsterInstance) -> Iterator[None]:
    instance._compute_log_manager = NoOpComputeLogManager()  # noqa: SLF001
    try:
        yield
    finally:
        instance._compute_log_manager = None  # type: ignore[assignment]  # noqa: SLF001
