"""Checks of a whole source that time alone can change: they are evaluated while nothing runs.

`newest_day_loaded` asks for the newest day, in place of Dagster's own freshness policies: these ask
when anything was materialized, whichever day it was. The sensor `source_watch` looks at all sources
each minute and reports what changed; no run is started, and loads do not evaluate them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import dagster as dg

from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.resources import failing_clearly, opened_warehouse
from callkeeper_assets.assets.tables import name_main_table
from callkeeper_assets.config.source import Source
from callkeeper_assets.plans import measure_freshness
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.url import database_url

FRESH: Final = "newest_day_loaded"
SETTLED: Final = "calls_final"
_INTERVAL_SEC: Final = 60
_MOST_SHOWN: Final = 20
_DESCRIPTIONS: Final = {
    FRESH: "The day of the last refresh that was due is loaded, or a newer one.",
    SETTLED: (
        "No call is older than `refresh.settle_after_days` and still not final: such calls count "
        "as settled as they are."
    ),
}

_NOTHING_LOADED: Final = dg.AssetCheckResult(
    passed=True, description="Nothing is loaded yet.", metadata={}
)


def _now() -> datetime:
    return datetime.now(UTC)


def list_watch_keys(source: Source) -> list[dg.AssetCheckKey]:
    """Return the keys of a source's checks that no load evaluates."""
    table = asset_key(source, name_main_table(source))
    return [dg.AssetCheckKey(table, name) for name in _DESCRIPTIONS]


def build_watch_checks(source: Source) -> dg.AssetChecksDefinition:
    """Build the checks of one source; started by a person, they are evaluated by a run."""

    @dg.multi_asset_check(
        name=f"{source.stem}__watch",
        specs=[
            dg.AssetCheckSpec(
                name=key.name, asset=key.asset_key, description=_DESCRIPTIONS[key.name]
            )
            for key in list_watch_keys(source)
        ],
        can_subset=True,
    )
    def watch(
        context: dg.AssetCheckExecutionContext,
    ) -> Iterator[dg.AssetCheckResult]:
        with failing_clearly(context), opened_warehouse(context, source) as url:
            verdicts = _evaluate_sources(url, [source], _now()).get(source.name, {})
        for key in list_watch_keys(source):
            verdict = verdicts.get(key.name, _NOTHING_LOADED)
            if key in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=verdict.passed,
                    severity=verdict.severity,
                    description=verdict.description,
                    metadata=verdict.metadata,
                )

    return watch


def build_watch(sources: Sequence[Source], prefix: str = "") -> dg.SensorDefinition:
    """Build the sensor over all sources; it runs from the start on."""
    keys = {key: source for source in sources for key in list_watch_keys(source)}

    @dg.sensor(
        name=f"{prefix}source_watch",
        minimum_interval_seconds=_INTERVAL_SEC,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Looks each minute whether every source has its newest day, and for calls that stay in "
            f"progress: the checks {FRESH} and {SETTLED}."
        ),
    )
    @kept_connection()
    def source_watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

        url = database_url()
        ensure_schema(url)
        verdicts = _evaluate_sources(url, sources, _now())
        newest = _find_materializations(context.instance, {key.asset_key for key in keys})
        said: dict[str, str] = json.loads(context.cursor or "{}")
        now_said: dict[str, str] = {}
        events = []
        for key, source in keys.items():
            verdict = verdicts.get(source.name, {}).get(key.name)
            if verdict is None:
                continue
            name = f"{source.name}/{key.name}"
            # Dagster takes a result for outdated once the asset is materialized after it.
            now_said[name] = (
                f"{newest.get(key.asset_key, 0)} {verdict.severity.value} {verdict.description}"
            )
            if said.get(name) != now_said[name]:
                events.append(_build_evaluation(key, verdict))
        return dg.SensorResult(
            asset_events=events,
            cursor=json.dumps(now_said),
            skip_reason=None if events else "Nothing has changed.",
        )

    return source_watch


def _evaluate_sources(
    url: str, sources: Sequence[Source], now: datetime
) -> dict[str, dict[str, dg.AssetCheckResult]]:
    """Return the checks' results of each source of which something is loaded, by check."""
    from callkeeper_assets.warehouse.queries import newest_days  # noqa: PLC0415

    newest = newest_days(url, [source.name for source in sources])
    return {
        source.name: {
            FRESH: _evaluate_freshness(source, newest[source.name], now),
            SETTLED: _evaluate_settled(url, source, now),
        }
        for source in sources
        if source.name in newest
    }


def _evaluate_freshness(source: Source, newest_day: date, now: datetime) -> dg.AssetCheckResult:
    found = measure_freshness(source, newest_day, now)
    metadata: dict[str, Any] = {
        "newest_day": found.newest_day.isoformat(),
        "due_day": found.due_day.isoformat(),
    }
    text = f"The newest day loaded is {found.newest_day}"
    if found.missing_since is None:
        return dg.AssetCheckResult(passed=True, description=f"{text}.", metadata=metadata)
    since = found.missing_since.astimezone(source.time_zone)
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{text}: {found.due_day} is due and missing, no refresh has brought a newer day since "
            f"{since:%Y-%m-%d %H:%M} ({source.time_zone.key}). See why the last runs failed, or "
            f"whether the schedule {source.stem}_refresh is stopped; then: callkeeper refresh "
            f"{source.name}."
        ),
        metadata={**metadata, "missing_since": dg.MetadataValue.timestamp(found.missing_since)},
        severity=dg.AssetCheckSeverity.ERROR if found.is_long else dg.AssetCheckSeverity.WARN,
    )


def _evaluate_settled(url: str, source: Source, now: datetime) -> dg.AssetCheckResult:
    from callkeeper_assets.warehouse.queries import settled_calls  # noqa: PLC0415

    before = source.settled_before(source.today(now))
    count, ids = settled_calls(url, source.name, source.time_zone, before, _MOST_SHOWN)
    if not count:
        return dg.AssetCheckResult(
            passed=True, description="Every older call is final.", metadata={"calls": 0}
        )
    shown = f": {', '.join(map(str, ids))}" if ids else ""
    shown += ", …" if ids and count > len(ids) else ""
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{count} calls before {before} are still planned, in progress or waiting for their "
            f"status{shown}. They count as settled as they are: their days are not read again for "
            f"them, and reconciliation compares them. Look them up in CallKeeper's cabinet; "
            f"refresh.settle_after_days in {source.file} sets the days."
        ),
        metadata={"calls": count, "sample": list(ids), "sample_is_cut": count > len(ids)},
        severity=dg.AssetCheckSeverity.WARN,
    )


def _find_materializations(
    instance: dg.DagsterInstance, keys: set[dg.AssetKey]
) -> Mapping[dg.AssetKey, int]:
    """Return the newest materialization of each asset that has one."""
    found = {}
    for record in instance.get_asset_records(sorted(keys)):
        entry = record.asset_entry
        if entry.last_materialization_storage_id is not None:
            found[entry.asset_key] = entry.last_materialization_storage_id
    return found


def _build_evaluation(
    key: dg.AssetCheckKey, verdict: dg.AssetCheckResult
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=verdict.passed,
        severity=verdict.severity,
        description=verdict.description,
        metadata=verdict.metadata,
    )
