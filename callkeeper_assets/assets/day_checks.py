"""The checks of each day: keys, foreign keys, counts, fields, values, what is no call.

They are evaluated by the step that loads, over all its days at once, and logged one by one with
their day: `AssetCheckResult` has no partition, and a ranged run would store it for none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

import dagster as dg

from callkeeper_assets.assets.day_events import log_verdicts
from callkeeper_assets.assets.record_checks import (
    DESCRIPTIONS,
    RECORDS_USABLE,
    TIMES_AGREE,
    judge_records,
    judge_times,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import DayDetails
from callkeeper_assets.warehouse.dimensions import CALLS, FACTS
from callkeeper_assets.warehouse.records import LoadedDay

if TYPE_CHECKING:
    from callkeeper_assets.warehouse.checks import Violations

_Judge = Callable[[str, LoadedDay], dg.AssetCheckResult]

_MOST_FIELDS: Final = 20
_DESCRIPTIONS: Final = {
    "keys_unique": "No key of the day's rows occurs twice.",
    "foreign_keys_found": "Every foreign key of the day's rows finds its row, and just one.",
    "count_equals_raw": "The day has one row for each raw call that the filters let pass.",
    "no_unknown_fields": (
        "The source sent no field that its documentation does not know. New ones are kept in raw "
        "calls; tell the maintainers which, so that they get columns."
    ),
    "no_calls_lost": (
        "The source still sends the calls of the day that it sent before, but for a handful or a "
        "fifth. The day as it was is kept beside its raw calls otherwise."
    ),
    "values_readable": (
        "Every number and time of the day's calls could be read. One that cannot is NULL in its "
        "column, and as received in raw calls."
    ),
    **DESCRIPTIONS,
}


def name_main_table(source: Source) -> str:
    """Name the table that has the checks of the calls themselves, whatever is selected."""
    return CALLS if CALLS in source.tables else source.tables[0]


def build_check_specs(
    source: Source, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that fit the source's selected tables."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=dg.AssetKey([source.name, table]),
            description=_DESCRIPTIONS[name],
            partitions_def=partitions,
        )
        for table, name in _list_checks(source)
    ]


def log_checks(
    context: dg.AssetExecutionContext,
    source: Source,
    url: str,
    loaded: Sequence[LoadedDay],
    fetched: Mapping[date, DayDetails],
) -> None:
    """Evaluate the checks that the run asks for, and log a result for each loaded day.

    `fetched` tells how the raw calls of the days were fetched.
    """
    wanted = context.selected_asset_check_keys
    if not loaded or not wanted:
        return
    judges: dict[str, _Judge] = {
        **_build_judges(source, url, {key.name for key in wanted}, loaded),
        "no_calls_lost": _build_loss_judge(source, fetched),
        RECORDS_USABLE: lambda _, day: judge_records(source, day, fetched.get(day.day)),
        TIMES_AGREE: lambda _, day: judge_times(day, fetched.get(day.day)),
    }
    log_verdicts(
        context,
        [
            (key, day.day, judges[key.name](key.asset_key.path[-1], day))
            for key in sorted(wanted)
            for day in loaded
        ],
    )


def _list_checks(source: Source) -> Iterator[tuple[str, str]]:
    """Yield table and check; what came is a matter of the calls, whatever is selected."""
    for table in (CALLS, FACTS):
        if table in source.tables:
            yield table, "keys_unique"
            yield table, "count_equals_raw"
    if FACTS in source.tables:
        yield FACTS, "foreign_keys_found"
    for name in ("no_unknown_fields", "values_readable", "no_calls_lost", RECORDS_USABLE):
        yield name_main_table(source), name
    if source.api == "ckct":
        yield name_main_table(source), TIMES_AGREE


def _build_judges(
    source: Source, url: str, names: AbstractSet[str], loaded: Sequence[LoadedDay]
) -> dict[str, _Judge]:
    """Ask the database once for all days, and return who judges a table's day by the answers."""
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.warehouse.checks import (  # noqa: PLC0415
        check_foreign_keys,
        check_keys_unique,
        count_rows,
    )

    scope = (
        url,
        source.account,
        min(day.day for day in loaded),
        max(day.day for day in loaded),
    )
    judges: dict[str, _Judge] = {
        "no_unknown_fields": _judge_fields,
        "values_readable": _judge_values,
    }
    repeated = check_keys_unique(*scope)
    if "keys_unique" in names:
        judges["keys_unique"] = _build_violations_judge(
            [one for one in repeated if one.day],
            "Load the day again; if it stays, the table's unique index is gone: restore it.",
        )
    if "foreign_keys_found" in names:
        # A key that a dimension has twice finds two rows, on every day.
        judges["foreign_keys_found"] = _build_violations_judge(
            [
                *check_foreign_keys(*scope),
                *(replace(one, table=FACTS) for one in repeated if not one.day),
            ],
            f"Load the day again: callkeeper load {source.name} --from DAY --to DAY.",
        )
    if "count_equals_raw" in names:
        judges["count_equals_raw"] = _build_count_judge(count_rows(*scope), source.name)
    return judges


def _build_violations_judge(violations: "Iterable[Violations]", remedy: str) -> _Judge:
    found: dict[tuple[str, date | None], list[Violations]] = {}
    for one in violations:
        found.setdefault((one.table, one.day), []).append(one)

    def judge(table: str, day: LoadedDay) -> dg.AssetCheckResult:
        broken = found.get((table, day.day), []) + found.get((table, None), [])
        rows = sum(one.count for one in broken)
        if not rows:
            return dg.AssetCheckResult(passed=True, metadata={"rows": 0})
        return dg.AssetCheckResult(
            passed=False,
            description="; ".join(f"{one.rule}: {one.count} rows" for one in broken)
            + f". {remedy}",
            metadata={
                "rows": rows,
                "sample": dg.MetadataValue.json({one.rule: list(one.sample) for one in broken}),
                "sample_is_cut": any(len(one.sample) < one.count for one in broken),
            },
        )

    return judge


def _build_count_judge(counts: Mapping[date, Mapping[str, int]], source: str) -> _Judge:
    def judge(table: str, day: LoadedDay) -> dg.AssetCheckResult:
        expected, rows = day.rows[table], counts.get(day.day, {}).get(table, 0)
        filtered = day.raw_calls - expected
        text = f"{rows} rows, {day.raw_calls} raw calls, of which filters leave out {filtered}"
        remedy = (
            ""
            if rows == expected
            else f": {expected} rows were expected. Something else writes to the table; "
            f"load the day again: callkeeper load {source} --from {day.day} --to {day.day}"
        )
        return dg.AssetCheckResult(
            passed=rows == expected,
            description=f"{text}{remedy}.",
            metadata={"rows": rows, "raw_calls": day.raw_calls, "filtered": filtered},
        )

    return judge


def _build_loss_judge(source: Source, fetched: Mapping[date, DayDetails]) -> _Judge:
    def judge(_: str, day: LoadedDay) -> dg.AssetCheckResult:
        details = fetched[day.day]
        numbers = {"lost_calls": details.lost, "most_calls": details.most_calls}
        if not details.lost:
            return dg.AssetCheckResult(passed=True, metadata=numbers)
        return dg.AssetCheckResult(
            passed=False,
            description=(
                f"{details.lost} of {details.most_calls} calls that the source once sent are gone "
                f"from what it sends; max_lost_share ({source.max_lost_share:.0%}) lets that pass. "
                f"The day as it was lies beside its raw calls, as {day.day}.parquet.replaced. Look "
                f"in CallKeeper's cabinet; if this is right: callkeeper load {source.name} --from "
                f"{day.day} --to {day.day} --force."
            ),
            metadata=numbers,
            severity=dg.AssetCheckSeverity.WARN,
        )

    return judge


def _judge_fields(_: str, day: LoadedDay) -> dg.AssetCheckResult:
    unknown = day.unknown_fields
    if not unknown:
        return dg.AssetCheckResult(passed=True, metadata={"unknown_fields": 0})
    shown = ", ".join(unknown[:_MOST_FIELDS])
    more = f" and {len(unknown) - _MOST_FIELDS} more" if len(unknown) > _MOST_FIELDS else ""
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"Fields unknown to the documentation: {shown}{more}. They are kept in raw calls."
        ),
        metadata={"unknown_fields": len(unknown), "fields": list(unknown[:_MOST_FIELDS])},
        severity=dg.AssetCheckSeverity.WARN,
    )


def _judge_values(_: str, day: LoadedDay) -> dg.AssetCheckResult:
    unusable = sorted(day.unusable_values.items(), key=lambda one: (-one[1], one[0]))
    count = sum(day.unusable_values.values())
    if not count:
        return dg.AssetCheckResult(passed=True, metadata={"unusable_values": 0})
    shown = ", ".join(f"{name} {number}" for name, number in unusable[:_MOST_FIELDS])
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"Values that are no whole number in plain digits, or no time: {shown}. They are NULL "
            "in their columns; raw calls have them as received."
        ),
        metadata={
            "unusable_values": count,
            "fields": dg.MetadataValue.json(dict(unusable[:_MOST_FIELDS])),
        },
        severity=dg.AssetCheckSeverity.WARN,
    )
