"""The assets `<source>/webhook_calls`: calls that webhooks told of, merged into the tables.

One step for all sources that take webhooks, whichever of them a run is for: starting a step for
each would take longer than its payloads. They have no days: a run takes what waits. A source that
fails does not hold up the others; the step fails after them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from callkeeper_assets.api.errors import CallKeeperError
from callkeeper_assets.assets.day_events import log_observations
from callkeeper_assets.assets.day_metadata import describe_counts
from callkeeper_assets.assets.failures import failing_clearly
from callkeeper_assets.assets.resources import RawCallsResource, WarehouseResource
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.errors import RawError
from callkeeper_assets.warehouse.errors import WarehouseError
from callkeeper_assets.warehouse.records import RowCounts

if TYPE_CHECKING:
    from callkeeper_assets.webhooks.processing import Processed

NAME: Final = "webhook_calls"
# The tables are not made from this asset again when it changes: its step has changed them itself.
# So its version is always the one that Dagster takes it to have before its first materialization:
# otherwise each day that was loaded before the first webhook would be outdated by that.
_DATA_VERSION: Final = dg.DataVersion("INITIAL")


_EXPECTED: Final = (CallKeeperError, RawError, WarehouseError)


def build_webhook_calls(sources: Sequence[Source]) -> dg.AssetsDefinition:
    """Build the multi-asset of these sources, all of which take webhooks."""
    by_key = {webhook_calls_key(source): source for source in sources}

    @dg.multi_asset(
        name=NAME,
        specs=[_build_spec(source) for source in sources],
        can_subset=True,
    )
    def webhook_calls(
        context: dg.AssetExecutionContext,
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        chosen = [by_key[key] for key in sorted(context.selected_asset_keys)]
        # DuckDB, Arrow and the database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.loader import Loader  # noqa: PLC0415
        from callkeeper_assets.webhooks.rounds import InboxRun  # noqa: PLC0415

        with failing_clearly(context), warehouse.open(context, *chosen) as url:
            with Loader(url) as loader:
                run = InboxRun(loader, chosen, raw_store.open_store(), context.run.run_id)
                run.process()
            for source in chosen:
                processed = run.processed[source.name]
                # What was committed before a failure stays, and is told as well.
                _observe_tables(context, source, processed)
                if source.name in run.failures:
                    continue
                yield dg.MaterializeResult(
                    asset_key=webhook_calls_key(source),
                    metadata=_describe(processed),
                    data_version=_DATA_VERSION,
                )
            failures = [_explain(name, error) for name, error in run.failures.items()]
        for failure in failures:
            context.log.error(failure)
        bugs = [one for one in run.failures.values() if not isinstance(one, _EXPECTED)]
        if bugs:
            raise bugs[0]
        if failures:
            raise dg.Failure("\n".join(failures), allow_retries=False)

    return webhook_calls


def webhook_calls_key(source: Source) -> dg.AssetKey:
    """Return the key of a source's asset."""
    return dg.AssetKey([source.name, NAME])


def _build_spec(source: Source) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=webhook_calls_key(source),
        group_name=source.name,
        owners=source.owners,
        description=(
            f"Calls of {source.caption} that webhooks told of before the API shows them. What "
            "waits in the inbox (table callkeeper_webhooks) is merged into the tables, with origin "
            "`webhook`; the API's record of a call replaces it. The sensor `webhook_inbox` starts "
            "it whenever something waits."
        ),
        kinds={"webhook", "postgres"},
    )


def _explain(source: str, failure: Exception) -> str:
    """Say what a failure means for the source; a bug is told by its kind alone, as it is raised."""
    said = str(failure) if isinstance(failure, _EXPECTED) else type(failure).__name__
    return f"Source '{source}': its webhooks wait on, they could not be processed. {said}"


def _describe(processed: "Processed") -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for day in processed.days:
        for table, one in day.counts.items():
            counts[table] += one.added + one.updated + one.deleted
    waited = (
        round((datetime.now(UTC) - processed.oldest).total_seconds(), 1) if processed.oldest else 0
    )
    return {
        "payloads": processed.payloads,
        "rejected": processed.rejected,
        "hints": processed.hints,
        "left_to_the_api": processed.not_needed,
        "days": sorted({day.day.isoformat() for day in processed.days}),
        "rows_changed": {table: number for table, number in counts.items() if number},
        "longest_wait_sec": waited,
    }


def _observe_tables(
    context: dg.AssetExecutionContext, source: Source, processed: "Processed"
) -> None:
    """Tell each changed table's day what changed.

    As an observation: a materialization would make the day's checks, which are of the load from the
    API, look outdated, and the table fresher than the API has made it.
    """
    seen: dict[str, dict[date, dict[str, Any]]] = {}
    for day in processed.days:
        for table, counts in day.counts.items():
            if counts != RowCounts():
                seen.setdefault(table, {})[day.day] = {
                    **describe_counts(counts),
                    "changed_by": f"webhooks, run {context.run.run_id}",
                }
    for table, days in seen.items():
        log_observations(context, dg.AssetKey([source.name, table]), days)
