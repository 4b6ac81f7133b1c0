"""What the steps reach the world with, and how this product's errors become Dagster's failures.

Plain functions, no resources of Dagster's: all they go by is the environment's, which schedules and
sensors read as well, and a resource has a name that a project's own resource may have.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias, TypeVar

import dagster as dg

from callkeeper_assets.callkeeper.records import CallKeeperError, RetryLaterError
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import COMMAND_LINE_TAG, SOURCE_TAG
from callkeeper_assets.dagster_ext.steps import leave_out_remark
from callkeeper_assets.home import raw_url
from callkeeper_assets.postgres.errors import DatabaseError, DatabaseLostError
from callkeeper_assets.postgres.locks import held_run_lock
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.raw.place import RawError, StoreError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.records import UnavailableError, WarehouseError

RETRY_POLICY: Final = dg.RetryPolicy(
    max_retries=2, delay=timedelta(minutes=1).total_seconds(), backoff=dg.Backoff.EXPONENTIAL
)

# What both kinds of steps have in common here: a run, and an instance that knows it.
StepContext: TypeAlias = (
    dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext
)

_ERRORS = (CallKeeperError, ConfigError, DatabaseError, RawError, WarehouseError)
_TRANSIENT = (DatabaseLostError, RetryLaterError, StoreError, UnavailableError)

P = ParamSpec("P")
R = TypeVar("R")


def build_failure(context: StepContext, error: Exception) -> dg.Failure:
    """Return the failure that says what the error says."""
    # A run that a person waits for is not put to sleep: it fails at once and says why.
    unattended = COMMAND_LINE_TAG not in context.run.tags
    return dg.Failure(
        description=str(error), allow_retries=unattended and isinstance(error, _TRANSIENT)
    )


@contextmanager
def logging_failure(
    source: Source, run: dg.DagsterRun, days_left: Sequence[date]
) -> Iterator[None]:
    """Put this product's errors into the load log, for the first of the days left; raise them on.

    `days_left` is read when an error comes: who works takes the days done out of it.
    """
    try:
        yield
    except _ERRORS as error:
        # The database may be what failed; the step's own failure says so.
        with suppress(DatabaseError, WarehouseError):
            from callkeeper_assets.warehouse.loader import log_failure  # noqa: PLC0415

            days = list(days_left[:1])
            log_failure(database_url(), source.account, days, run.run_id, str(error))
        raise


@contextmanager
def failing_clearly(context: StepContext) -> Iterator[None]:
    """Raise this product's errors as `dg.Failure`, with their cause; let bugs through as they are.

    Raises:
        dagster.Failure: One of the product's own errors came, or somebody stopped the run.
    """
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        # Dagster would run a step that has a retry policy again, a minute after it was stopped.
        raise dg.Failure(
            description="The run was stopped. Days that were loaded stay loaded; run it again.",
            allow_retries=False,
        ) from None
    except _ERRORS as error:
        raise build_failure(context, error) from error


if TYPE_CHECKING:
    from callkeeper_assets.callkeeper.client import CallKeeperClient


def open_client(source: Source) -> "CallKeeperClient":
    """Open a client of a source for a step, which closes it.

    Raises:
        MissingSecretError: The source's key is not in the environment.
    """
    # requests, which loading the code location need not pay for; below the database's driver.
    from callkeeper_assets.callkeeper.client import CallKeeperClient  # noqa: PLC0415

    return CallKeeperClient(
        source=source.name,
        api_key=source.read_api_key(),
        key_name=source.api_key_env,
        api=source.api,
        role=source.role,
        base_url=source.base_url,
        time_zone=source.time_zone,
        parallel_days=source.parallel_days,
        check_answers_from=source.check_answers_from,
    )


def open_store() -> RawStore:
    """Open the raw calls, which lie where `CALLKEEPER_RAW_URL` says.

    Raises:
        StoreError: The URL names a place that cannot be used.
    """
    return RawStore(raw_url())


# Steps of a run are a chain in one process: what the first one found is not looked up again.
@lru_cache(maxsize=1)
def _ensure_schema(url: str, _run_id: str) -> None:
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    ensure_schema(url)


@contextmanager
def opened_warehouse(context: StepContext, *sources: Source) -> Iterator[str]:
    """Yield the URL of a database whose schema is this version's, by `CALLKEEPER_DATABASE_URL`.

    While it is open the run is known to be alive (`callkeeper_assets.postgres.locks`); its tag
    names the sources, also where a person chose assets and no job set it.

    Raises:
        DatabaseError: No database can be reached or started.
        WarehouseError: Its schema cannot be brought to this version.
        dagster.Failure: The run has been marked as ended.
    """
    leave_out_remark(context.log)
    url = database_url()
    with held_run_lock(url, context.run.run_id):
        # While the database was away there was no lock, and the run was taken for dead.
        run = context.instance.get_run_by_id(context.run.run_id)
        if run is not None and run.is_finished:
            raise dg.Failure(
                f"This run was marked as {run.status.value} while it was under way: another "
                "may be in its place. It stops here; days that were loaded stay loaded.",
                allow_retries=False,
            )
        if SOURCE_TAG not in context.run.tags:
            names = ", ".join(source.name for source in sources)
            context.instance.add_run_tags(context.run.run_id, {SOURCE_TAG: names})
        _ensure_schema(url, context.run.run_id)
        yield url


def with_known_signature(step: Callable[P, R]) -> Callable[P, R]:
    """Keep the signature at the function, where `inspect.signature` looks first."""
    step.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]
    return step
