"""Turns this product's errors into Dagster's `Failure`, at the assets' edge.

One place decides whether Dagster may run a step again by itself: yes for a source or a database
that did not answer, no for what asking again cannot mend.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from typing import Final, TypeAlias

import dagster as dg

from callkeeper_assets.api.errors import CallKeeperError, RetryLaterError
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.errors import DatabaseError, DatabaseLostError
from callkeeper_assets.database.url import database_url
from callkeeper_assets.raw.errors import RawError, StoreError
from callkeeper_assets.runs.burial import COMMAND_LINE_TAG
from callkeeper_assets.warehouse.errors import UnavailableError, WarehouseError

RETRY_POLICY: Final = dg.RetryPolicy(
    max_retries=2, delay=timedelta(minutes=1).total_seconds(), backoff=dg.Backoff.EXPONENTIAL
)

# What both kinds of steps have in common here: a run, and an instance that knows it.
StepContext: TypeAlias = (
    dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext
)

_ERRORS = (CallKeeperError, ConfigError, DatabaseError, RawError, WarehouseError)
_TRANSIENT = (DatabaseLostError, RetryLaterError, StoreError, UnavailableError)


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
