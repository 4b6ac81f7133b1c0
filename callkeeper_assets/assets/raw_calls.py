"""The asset `<source>/raw_calls`: each day's calls as received, a Parquet file a day; checks."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import msgspec

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.days import (
    LOAD_SCHEMA,
    LoadConfig,
    build_partitions,
    days_of_run,
    first_run_id,
    log_materializations,
    other_days_of_run,
    read_config,
)
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.resources import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
    open_client,
    open_store,
    opened_warehouse,
    with_known_signature,
)
from callkeeper_assets.callkeeper.records import CallKeeperError
from callkeeper_assets.config.errors import ConfigError, list_some
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.steps import add_day_metadata
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.raw.place import RawError
from callkeeper_assets.raw.store import Day, DayDetails, RawStore, store_days
from callkeeper_assets.warehouse.guard import DayBalance, find_refusal, is_worth_keeping
from callkeeper_assets.warehouse.records import Guard, LoadedDay

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.shield import Shield

_RAW_CALLS_SCHEMA: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("call_id", "bigint", "The call's id in CallKeeper"),
        dg.TableColumn("called_at", "timestamp with time zone", "When it was called"),
        dg.TableColumn("payload", "text", "The call's JSON text, byte for byte as received"),
        dg.TableColumn(
            "reason", "text", "Why a record is no call; files of days without such ones lack it"
        ),
    ]
)

_MOST_NAMED: Final = 50

RECORDS_USABLE: Final = "records_usable"
TIMES_AGREE: Final = "times_agree"
DESCRIPTIONS: Final = {
    RECORDS_USABLE: (
        "Every record that the source sent for the day is a call in the tables, filters aside: it "
        "has an id and a time that can be read, and an id of its own."
    ),
    TIMES_AGREE: (
        "The calls' times are those that the clients' clocks showed, less their offset from UTC: "
        "the source says nowhere in which time zone its times are."
    ),
}
_MOST_SHOWN: Final = 20


def name_pool(source: Source) -> str:
    """Name the pool that lets one step at a time use an API key; sources of one key share it."""
    return f"callkeeper_{source.api_key_env.lower()}"


@dataclass
class Fetching:
    """One step's fetching: asks a source for days, and says which may replace stored ones.

    Args:
        context: of the step.
        source: that is asked.
        store: where its raw calls lie.
        guard: how much of a day may vanish; None does without.
        shield: what records pass before anything is written.

    Attributes:
        error: what ended it. The days before are handed out first: the caller raises it
            when they are done.
    """

    context: dg.AssetExecutionContext
    source: Source
    store: RawStore
    guard: Guard | None
    shield: "Shield"
    error: CallKeeperError | RawError | None = None

    @contextmanager
    def open(self, days: Sequence[date]) -> Iterator[Iterator[Day]]:
        """Give the days, in order, each as soon as it is there; `error` says what ended them."""
        with (
            open_client(self.source) as client,
            self.shield.passing(len(days)) as passage,
            closing(client.fetch_days(tuple(days), passage)) as fetched,
        ):
            yield self._judge_all(fetched, tuple(days))

    def _judge_all(self, fetched: Iterable[Day], days: Sequence[date]) -> Iterator[Day]:
        try:
            # The stored days are read while the source is asked; both come in the same order.
            for day, (_, read) in zip(fetched, self.store.ahead(self._look_up, days), strict=False):
                yield self.judge(day, read())
        except (CallKeeperError, RawError) as error:
            self.error = error

    def _look_up(self, day: date) -> tuple[set[int], DayDetails] | None:
        """Read the stored day; without a guard nothing counts but the answer."""
        return self.store.look_up(self.source.name, day) if self.guard else None

    def judge(self, day: Day, found: tuple[set[int], DayDetails] | None) -> Day:
        """Take a fetched day over, refused if too many calls of the stored day are gone.

        Args:
            day: As it was fetched.
            found: The ids of the stored day's calls, and its details; None where there is none.

        Raises:
            RawError: What lies beside the stored day cannot be read.
        """
        balance, details = self._weigh(day, found), day.details
        refusal = ""
        if self.guard:
            refusal = find_refusal(self.source.name, balance, self.guard) or ""
        lost = balance.lost if self.guard and is_worth_keeping(balance) else 0
        if refusal:
            self.context.log.warning(refusal)
        if details.strays:
            self.context.log.warning(
                "%s: %d calls came that lie outside of the day that was asked for, and were left "
                "out; their own day has them, if the source sends them for it: %s",
                day.day,
                len(details.strays),
                list_some(details.strays, _MOST_NAMED),
            )
        taken = msgspec.structs.replace(
            details,
            run_id=first_run_id(self.context.run),
            refusal=refusal,
            most_calls=max(balance.before, balance.sent),
            lost=lost,
        )
        return replace(day, fetched=taken)

    def describe(self, day: Day) -> dict[str, Any]:
        """Return what Dagster's UI shows of a day of raw calls."""
        details = day.details
        return {
            "dagster/partition_row_count": len(day),
            "window_from": dg.MetadataValue.timestamp(details.window_from),
            "window_to": dg.MetadataValue.timestamp(details.window_to),
            "fetched_at": dg.MetadataValue.timestamp(details.fetched_at),
            "requests": details.requests,
            "unusable_records": sum(count for _, count in details.unusable),
            "file": self.store.locate(self.source.name, details.day),
            **({"refused": details.refusal} if details.refusal else {}),
            **({"lost_calls": details.lost} if details.lost and not details.refusal else {}),
            **({"calls_outside": list_some(details.strays, _MOST_NAMED)} if details.strays else {}),
        }

    def _weigh(self, fetched: Day, found: tuple[set[int], DayDetails] | None) -> DayBalance:
        """Compare an answer with the stored day."""
        name, day, now = self.source.name, fetched.day, set(fetched.call_ids)
        if found is None:
            return DayBalance(day, had=0, sent=len(now), held=0, vanished=0)
        before, details = found
        vanished = len(before - now)
        if details.lost:
            kept = self.store.look_up(name, day, "replaced")
            vanished = max(vanished, len(kept[0] - now) if kept else 0)
        return DayBalance(
            day=day,
            had=len(before),
            sent=len(now),
            held=len(before),
            vanished=vanished,
            most=details.most_calls,
        )


def open_fetching(
    context: dg.AssetExecutionContext,
    source: Source,
    store: RawStore,
    guard: Guard | None,
    url: str,
    *,
    notes_setting: bool = True,
) -> Fetching:
    """Prepare a step's fetching.

    With `notes_setting`, where what is fetched is going to be written, it is noted in the database
    under which privacy setting.

    Raises:
        MissingSecretError: The key of the source's privacy rule is not in the environment.
        DatabaseError: The database cannot be reached.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.personal_data.shield import build_shield  # noqa: PLC0415
    from callkeeper_assets.postgres import connect  # noqa: PLC0415
    from callkeeper_assets.warehouse.accounts import note_setting  # noqa: PLC0415

    with connect(url, autocommit=True) as connection:
        shield = build_shield(connection, source)
        if notes_setting:
            note_setting(connection, source.name, shield.protector.rule)
    return Fetching(context, source, store, guard, shield)


class BeyondHistoryError(ConfigError):
    """A day that the plan, `start_date` or retention does not let the source have."""

    def __init__(self, *, source: Source, day: date) -> None:
        today = source.today()
        first_day = source.first_day(today)
        super().__init__(
            f"Source '{source.name}': {day} cannot be fetched, the first day is {first_day}: "
            f"{source.explain_first_day(today)}. Choose such days, or correct the setting in "
            f"{source.file}."
            + (
                " Tables of older days whose raw calls are there can be materialized without "
                "raw_calls."
                if source.first_held_day(today) < first_day
                else ""
            )
        )


def build_raw_calls(source: Source) -> dg.AssetsDefinition:
    """Build the asset of one source."""
    spec = dg.AssetSpec(
        key=asset_key(source, "raw_calls"),
        group_name=source.group,
        owners=source.owners,
        description=(
            f"Calls of {source.caption} as CallKeeper sent them: the JSON text of each call, one "
            f"Parquet file a day ({source.time_zone.key}). Everything after it can be rebuilt "
            "from it without asking the API."
        ),
        kinds={"callkeeper", "parquet"},
        metadata={
            "dagster/column_schema": _RAW_CALLS_SCHEMA,
            "look_back_days": source.refresh.overlap_days,
            "api": source.base_url,
        },
        partitions_def=build_partitions(source),
    )

    # A step of one asset has the name of its key, which another step of somebody's may have.
    @dg.multi_asset(
        name=f"{source.stem}__raw_calls",
        specs=[spec],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=name_pool(source),
        retry_policy=RETRY_POLICY,
        config_schema=LOAD_SCHEMA,
    )
    @with_known_signature
    def raw_calls(context: dg.AssetExecutionContext) -> None:
        is_forced = read_config(context, LoadConfig).force
        guard = None if is_forced else Guard(max_lost_share=source.max_lost_share)
        with failing_clearly(context):
            store = open_store()
        days = days_of_run(context)
        with (
            failing_clearly(context),
            logging_failure(source, context.run, days),
            opened_warehouse(context, source) as url,
            # Nobody rewrites the source's calls until the last day that is fetched is stored.
            held_source_lock(url, source.name),
        ):
            if days[0] < source.first_day(source.today()):
                raise BeyondHistoryError(source=source, day=days[0])
            store = store.knowing(source.name, days)
            fetching = open_fetching(context, source, store, guard, url)
            _fetch_and_store(fetching, days)
        context.log.info("Raw calls are below %s.", store.url)

    return raw_calls


def _fetch_and_store(fetching: Fetching, days: list[date]) -> None:
    """Fetch the days, store and record each as it comes; those done are taken out of `days`.

    Raises:
        CallKeeperError: What the source said, once the days before are stored.
        RawError: The store cannot be read or written.
    """
    context = fetching.context
    days[:] = _days_to_fetch(fetching, days)
    total, others = len(days), other_days_of_run(context)
    metadata: dict[date, dict[str, Any]] = {}
    with fetching.open(days) as fetched:
        for day in store_days(fetching.store, fetched):
            described = {day.day: fetching.describe(day)}
            if day.day in others:
                # Dagster would not: it knows of the run's range only.
                log_materializations(context, context.asset_key, described)
            else:
                metadata |= described
            days.remove(day.day)
            progress.report("fetched", total - len(days), total)
    if fetching.error:
        raise fetching.error
    add_day_metadata(context, context.asset_key, metadata)


def _days_to_fetch(fetching: Fetching, days: list[date]) -> list[date]:
    """Leave out the days that an earlier try of this run has stored."""
    context = fetching.context
    run_id = first_run_id(context.run)
    if context.retry_number == 0 and run_id == context.run.run_id:
        return days
    stored = {
        day
        for day in days
        if (details := fetching.store.read_details(fetching.source.name, day))
        and details.run_id == run_id
    }
    context.log.info("%d of %d days were fetched by an earlier try.", len(stored), len(days))
    return [day for day in days if day not in stored]


def evaluate_records(
    source: Source, day: LoadedDay, details: DayDetails | None
) -> dg.AssetCheckResult:
    """Say what came for a day and is no call, and which calls were left out for their id."""
    reasons = dict(details.unusable) if details else {}
    count = sum(reasons.values())
    texts = []
    if count:
        listed = "; ".join(f"{number} × {reason}" for reason, number in reasons.items())
        texts.append(
            f"{count} records cannot be used ({listed}). They are kept, and the day's other calls "
            f"are loaded: callkeeper unusable {source.name} --from {day.day} --to {day.day}"
        )
    if day.collisions:
        shown = ", ".join(
            f"{one.universal_id} (call_id {one.call_id}, held by {one.held_by})"
            for one in day.collisions[:_MOST_SHOWN]
        )
        texts.append(
            f"{len(day.collisions)} calls have an id that another call holds, and are not in the "
            f"tables: universalId {shown}. They are in raw calls; report it"
        )
    return dg.AssetCheckResult(
        passed=not texts,
        description=". ".join(texts),
        metadata={
            "unusable_records": count,
            "collisions": len(day.collisions),
            **({"reasons": reasons} if reasons else {}),
        },
        severity=dg.AssetCheckSeverity.WARN,
    )


def evaluate_times(day: LoadedDay, details: DayDetails | None) -> dg.AssetCheckResult:
    """Say whether most of a day's calls were at another time than their clients' clocks showed."""
    found = details.local_times if details else None
    if found is None:
        return dg.AssetCheckResult(passed=True, metadata={"compared": 0})
    is_common = 2 * found.differing > found.compared
    return dg.AssetCheckResult(
        passed=not is_common,
        description=(
            f"Of {found.compared} calls of {day.day} that were compared, {found.differing} have a "
            f"callTime that is not localDate less timezoneOffset, mostly by "
            f"{found.difference_sec / 3600:+.2f} h. The account's times may not be UTC: calls of "
            f"its nights are then on the wrong day. Ask CallKeeper's support."
            if is_common
            else ""
        ),
        metadata={
            "compared": found.compared,
            "differing": found.differing,
            "difference_sec": found.difference_sec,
        },
        severity=dg.AssetCheckSeverity.WARN,
    )
