"""What the assets reach the world with: the source, the raw calls' store and the warehouse.

One instance of each serves all sources: a source's own settings come with the call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg

from callkeeper_assets.assets.failures import StepContext
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import database_url
from callkeeper_assets.home import raw_url
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.runs.burial import SOURCE_TAG
from callkeeper_assets.runs.lock import held_run_lock

if TYPE_CHECKING:
    from callkeeper_assets.api.client import CallKeeperClient


class CallKeeperResource(dg.ConfigurableResource[None]):
    """CallKeeper's API."""

    @contextmanager
    def open_client(self, source: Source) -> Iterator["CallKeeperClient"]:
        """Open a client of a source for a step.

        Raises:
            MissingSecretError: The source's key is not in the environment.
        """
        # requests, which loading the code location need not pay for; below the database's driver.
        from callkeeper_assets.api.client import CallKeeperClient  # noqa: PLC0415

        client = CallKeeperClient(
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
        with client:
            yield client


class RawCallsResource(dg.ConfigurableResource[None]):
    """Where days of raw calls lie, by `CALLKEEPER_RAW_URL`."""

    def open_store(self) -> RawStore:
        """Open the store.

        Raises:
            StoreError: The URL names a place that cannot be used.
        """
        return RawStore(raw_url())


# Steps of a run are a chain in one process: what the first one found is not looked up again.
@lru_cache(maxsize=1)
def _ensure_schema(url: str, _run_id: str) -> None:
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    ensure_schema(url)


class WarehouseResource(dg.ConfigurableResource[None]):
    """The PostgreSQL of the star schema, by `CALLKEEPER_DATABASE_URL`."""

    @contextmanager
    def open(self, context: StepContext, *sources: Source) -> Iterator[str]:
        """Yield the URL of a database whose schema is this version's.

        While it is open the run is known to be alive (see `callkeeper_assets.runs.lock`); its tag
        names the sources, also where a person chose assets and no job set it.

        Raises:
            DatabaseError: No database can be reached or started.
            WarehouseError: Its schema cannot be brought to this version.
            dagster.Failure: The run has been marked as ended.
        """
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
