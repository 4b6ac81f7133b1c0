"""The assets `<source>/webhook_calls`, `<source>/webhook_audit`; their two checks.

And the sensor `webhook_inbox`: it starts a run for all that waits in the inbox, at most one a tick,
and a source's refresh for the days on which webhooks of call tracking hint at calls. It looks and
counts; `webhooks.plans` decides. A tick that starts nothing says why.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import dagster as dg

from callkeeper_assets.assets.charts import draw_losses
from callkeeper_assets.assets.days import (
    build_partitions,
    build_range_tags,
    days_of_run,
    describe_counts,
    log_materializations,
    log_observations,
    log_verdicts,
)
from callkeeper_assets.assets.jobs import AUDIT, build_refresh_job, name_refresh_job
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.resources import (
    RETRY_POLICY,
    failing_clearly,
    open_store,
    opened_warehouse,
    with_known_signature,
)
from callkeeper_assets.callkeeper.records import CallKeeperError
from callkeeper_assets.config.errors import InvalidSourceError, capitalise
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import INBOX_TAG, SOURCE_TAG, is_run_dead
from callkeeper_assets.home import configured_webhook_url
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.raw.place import RawError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.records import RowCounts, WarehouseError
from callkeeper_assets.warehouse.schema import CALLS
from callkeeper_assets.webhooks.audit import (
    AuditedDay,
    Hook,
    LostWebhook,
    find_lost,
    rate_loss,
    read_hooks,
)
from callkeeper_assets.webhooks.plans import (
    HintPlan,
    HintRun,
    InboxCursor,
    InboxPlan,
    plan_hint_runs,
    plan_inbox_run,
    read_cursor,
    write_cursor,
)

WEBHOOKS_HELD: Final = "webhooks_held"
_TREND_DAYS: Final = 90
_MOST_LOST_SHOWN: Final = 10
# In Dagster's queue: many refreshes that are due in the same minute would have webhooks wait.
_BEFORE_OTHERS: Final = {"dagster/priority": "1"}
_NOT_FOUND: Final = 404
NOT_AUDITED: Final = "not audited: the source's answers list no webhooks"
_SAMPLE: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("call_id", "int"),
        dg.TableColumn("event", "string"),
        dg.TableColumn("answer", "int"),
        dg.TableColumn("kind", "string"),
        dg.TableColumn("held", "bool"),
    ]
)

WEBHOOK_CALLS: Final = "webhook_calls"
# The tables are not made from this asset again when it changes: its step has changed them itself.
# So its version is always the one that Dagster takes it to have before its first materialization:
# otherwise each day that was loaded before the first webhook would be outdated by that.
_DATA_VERSION: Final = dg.DataVersion("INITIAL")

_EXPECTED: Final = (CallKeeperError, RawError, WarehouseError)

WEBHOOKS_ARRIVE: Final = "webhooks_arrive"

_ASKED_SINCE: Final = "asked_since"
_MOST_RESULTS: Final = 20
# So many calls without a webhook are no chance: a source sends two for each.
_MOST_CALLS: Final = 4
_LOOK_BACK: Final = timedelta(days=3)

INBOX_JOB: Final = "webhook_inbox"
_INTERVAL_SEC: Final = 10

_UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_webhook_audit(source: Source) -> dg.AssetsDefinition:
    """Build the asset of a source that has an audit."""
    key = asset_key(source, AUDIT)
    partitions = build_partitions(source)
    spec = dg.AssetSpec(
        key=key,
        group_name=source.group,
        owners=source.owners,
        description=(
            f"The webhooks that CallKeeper says it sent for each call of {source.caption}, held "
            "against the inbox: which are lost, which were refused, and the answer that it saw."
        ),
        kinds={"callkeeper", "postgres"},
        deps=[asset_key(source, "raw_calls")],
        partitions_def=partitions,
        # Each day's materialization is logged by hand: a day without raw calls has none.
        skippable=True,
    )
    check = dg.AssetCheckSpec(
        name=WEBHOOKS_HELD,
        asset=key,
        description="The inbox holds every webhook that CallKeeper says it sent, and refused none.",
        partitions_def=partitions,
    )

    @dg.multi_asset(
        name=f"{source.stem}__{AUDIT}",
        specs=[spec],
        check_specs=[check],
        # Its check's results are logged by hand, too: Dagster must not wait for them.
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY_POLICY,
    )
    @with_known_signature
    def webhook_audit(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None]]:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.webhooks.audit import write_audit  # noqa: PLC0415

        with failing_clearly(context), opened_warehouse(context, source) as url:
            audited = list(_audit_days(source, url, open_store(), days_of_run(context)))
            write_audit(url, source.name, audited, context.run.run_id)
            _record(context, source, url, audited)
        yield from ()

    return webhook_audit


def _audit_days(
    source: Source, url: str, store: RawStore, days: Sequence[date]
) -> Iterator[AuditedDay]:
    """Audit the days whose raw calls are there, one by one."""
    from callkeeper_assets.webhooks.audit import read_held  # noqa: PLC0415

    receiver = configured_webhook_url()
    host = urlsplit(receiver).hostname if receiver else None
    for day in store.read_days(source.name, days):
        calls = day.calls
        ids, payloads = calls.column("call_id").to_pylist(), calls.column("payload").to_pylist()
        listed = [
            read_hooks(call_id, payload, source.name, host)
            for call_id, payload in zip(ids, payloads, strict=True)
        ]
        hooks: list[Hook] = [hook for of_call in listed for hook in of_call or ()]
        held = read_held(url, source.name, {hook.call_id for hook in hooks}) if hooks else {}
        is_listed = any(of_call is not None for of_call in listed) if listed else None
        yield AuditedDay(day.day, len(hooks), tuple(find_lost(hooks, held)), is_listed)


def _record(
    context: dg.AssetExecutionContext, source: Source, url: str, audited: Sequence[AuditedDay]
) -> None:
    """Record each day and the result of its check."""
    if not audited:
        return
    metadata: dict[date, dict[str, Any]] = {day.day: _describe_audit(day) for day in audited}
    # The UI shows the newest event's; in each day's it would only fill the event log.
    metadata[max(metadata)]["trend"] = _build_trend(source, url)
    log_materializations(context, asset_key(source, AUDIT), metadata)
    # After the materializations: Dagster counts a check's result for the newest one only.
    log_verdicts(
        context,
        [
            (check, day.day, evaluate_audit(source, day))
            for check in sorted(context.selected_asset_check_keys)
            for day in audited
        ],
    )


def _describe_audit(day: AuditedDay) -> dict[str, Any]:
    if day.is_listed is False:
        return {"audit": NOT_AUDITED}
    return {
        "sent": day.sent,
        "lost": day.lost,
        "refused": day.refused,
        "loss_percent": round(100 * rate_loss(day.sent, day.lost), 2),
    }


def _build_trend(source: Source, url: str) -> dg.MarkdownMetadataValue:
    from callkeeper_assets.webhooks.audit import read_losses  # noqa: PLC0415

    last = source.today()
    first = last - timedelta(days=_TREND_DAYS - 1)
    return dg.MetadataValue.md(draw_losses(read_losses(url, source.name, first, last), first, last))


def evaluate_audit(source: Source, day: AuditedDay) -> dg.AssetCheckResult:
    """Say what the audit of a day found, and what to do."""
    if day.is_listed is False:
        return dg.AssetCheckResult(
            passed=False,
            description=(
                f"{capitalise(NOT_AUDITED)}. Whether any was lost is not known; "
                "ask CallKeeper's support for `hooks` in the API's answers. `webhooks_arrive` of "
                "callkeeper_calls warns when none comes at all."
            ),
            metadata={"audit": NOT_AUDITED},
            severity=dg.AssetCheckSeverity.WARN,
        )
    counts = {"sent": day.sent, "lost": day.lost, "refused": day.refused}
    if not day.found:
        return dg.AssetCheckResult(passed=True, metadata=counts)
    shown = sorted(day.found, key=lambda one: one.is_held)[:_MOST_LOST_SHOWN]
    answers = Counter(_name_answer(one) for one in day.found)
    said = ", ".join(f"{count} × {answer}" for answer, count in answers.most_common())
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"Of {day.sent} webhooks that CallKeeper says it sent, {day.lost} are not in the inbox "
            f"and {day.refused} were refused; it saw: {said}. {_remedy(source, day)}"
        ),
        metadata={
            **counts,
            "sample": dg.MetadataValue.table([_show(one) for one in shown], _SAMPLE),
            "sample_is_cut": len(day.found) > len(shown),
        },
        severity=dg.AssetCheckSeverity.ERROR if day.lost else dg.AssetCheckSeverity.WARN,
    )


def _name_answer(one: LostWebhook) -> str:
    return "no answer" if one.hook.status is None else str(one.hook.status)


def _remedy(source: Source, day: AuditedDay) -> str:
    where = "callkeeper_lost_webhooks names all of them."
    if not day.lost:
        return f"Nothing is lost: each came another time. {where}"
    if any(one.hook.status == _NOT_FOUND for one in day.found):
        cause = (
            "A 404 is a wrong URL in CallKeeper's cabinet: `callkeeper check "
            f"{source.name}` prints the right one."
        )
    elif any(one.kind == "refused" for one in day.found):
        cause = "See the receiver's log of that time, and the proxy's before it."
    else:
        cause = (
            "An answer that the receiver did not give comes from what stands before it, a proxy "
            "or a firewall; without an answer it was not reached."
        )
    return f"The calls are in the tables all the same, by the API's word. {cause} {where}"


def _show(one: LostWebhook) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "call_id": one.hook.call_id,
            "event": one.hook.event,
            "answer": one.hook.status,
            "kind": one.kind,
            "held": one.is_held,
        }
    )


if TYPE_CHECKING:
    from callkeeper_assets.webhooks.processing import Processed


def build_webhook_calls(sources: Sequence[Source], prefix: str = "") -> dg.AssetsDefinition:
    """Build the multi-asset of these sources, all of which take webhooks."""
    by_key = {webhook_calls_key(source): source for source in sources}

    @dg.multi_asset(
        name=f"{prefix}{WEBHOOK_CALLS}",
        specs=[_build_spec(source) for source in sources],
        can_subset=True,
    )
    def webhook_calls(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None]]:
        chosen = [by_key[key] for key in sorted(context.selected_asset_keys)]
        # DuckDB, Arrow and the database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.loader import Loader  # noqa: PLC0415
        from callkeeper_assets.webhooks.processing import InboxRun  # noqa: PLC0415

        with failing_clearly(context), opened_warehouse(context, *chosen) as url:
            with Loader(url) as loader:
                run = InboxRun(loader, chosen, open_store(), context.run.run_id)
                run.process()
            for source in chosen:
                processed = run.processed[source.name]
                # What was committed before a failure stays, and is reported as well.
                _observe_tables(context, source, processed)
                if source.name in run.failures:
                    continue
                yield dg.MaterializeResult(
                    asset_key=webhook_calls_key(source),
                    metadata=_describe_processed(processed),
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
    return asset_key(source, WEBHOOK_CALLS)


def _build_spec(source: Source) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=webhook_calls_key(source),
        group_name=source.group,
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
    """Say what a failure means for the source; of a bug only its kind, as it is raised."""
    said = str(failure) if isinstance(failure, _EXPECTED) else type(failure).__name__
    return f"Source '{source}': its webhooks wait on, they could not be processed. {said}"


def _describe_processed(processed: "Processed") -> dict[str, Any]:
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
    """Record what changed for each changed table's day.

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
        log_observations(context, asset_key(source, table), days)


def has_webhook_check(source: Source) -> bool:
    """Whether the source takes webhooks, and has the table of calls to compare them with."""
    return source.webhook is not None and CALLS in source.tables


def _find_asked_since(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> datetime | None:
    """Return since when the check is asked for, as its results say one after the other."""
    for record in instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_MOST_RESULTS
    ):
        said = record.event and record.event.dagster_event
        if said and isinstance(said.event_specific_data, dg.AssetCheckEvaluation):
            value = said.event_specific_data.metadata.get(_ASKED_SINCE)
            if isinstance(value, dg.TimestampMetadataValue):
                return datetime.fromtimestamp(value.value, UTC)
    return None


def build_webhook_check(source: Source) -> dg.AssetChecksDefinition:
    """Build the check of one source."""
    spec = dg.AssetCheckSpec(
        name=WEBHOOKS_ARRIVE,
        asset=asset_key(source, CALLS),
        description=(
            f"Webhooks of {source.caption} come while there are calls: of those that the API shows "
            f"of the last three days, at most {_MOST_CALLS} are newer than the last webhook. Where "
            "none has come yet, calls count from this check's first result on: it cannot fail "
            "before the first webhook could have come."
        ),
    )

    @dg.multi_asset_check(name=f"{source.stem}__{CALLS}_{WEBHOOKS_ARRIVE}", specs=[spec])
    def webhooks_arrive(
        context: dg.AssetCheckExecutionContext,
    ) -> dg.AssetCheckResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.webhooks.inbox_queries import measure_silence  # noqa: PLC0415

        with failing_clearly(context), opened_warehouse(context, source) as url:
            # Before it was looked at first, none could have been expected.
            asked_since = _find_asked_since(context.instance, spec.key) or datetime.now(UTC)
            silence = measure_silence(url, source.name, _LOOK_BACK, asked_since)
        since = silence.last_at or asked_since
        last = f"{since.astimezone(source.time_zone):%Y-%m-%d %H:%M} {source.time_zone.key}"
        passed = silence.calls_since <= _MOST_CALLS
        text = f"{silence.calls_since} calls without a webhook since {last}"
        remedy = (
            ""
            if passed
            else ": see that the receiver runs and can be reached from outside, and that "
            "CallKeeper has the URL that `callkeeper check` prints, in its cabinet: "
            f"{source.webhook_page}"
        )
        return dg.AssetCheckResult(
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{text}{remedy}.",
            metadata={
                "calls_since": silence.calls_since,
                _ASKED_SINCE: dg.MetadataValue.timestamp(asked_since),
                **(
                    {"last_webhook": dg.MetadataValue.timestamp(silence.last_at)}
                    if silence.last_at
                    else {}
                ),
            },
        )

    return webhooks_arrive


def _stamp(source: Source) -> int | None:
    try:
        return source.file.stat().st_mtime_ns
    except OSError:
        return None


def _is_loadable(source: Source, stamp: int | None) -> bool:
    """Whether a run, which reads its sources anew, will still have this one; `stamp`: as read."""
    if _stamp(source) == stamp:
        return True
    try:
        load_source_file(source.file)
    except InvalidSourceError:
        return False
    return True


def build_webhook_inbox(sources: Sequence[Source], prefix: str = "") -> dg.Definitions:
    """Build the job and the sensor over these sources' webhook calls."""
    name = f"{prefix}{INBOX_JOB}"
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*(webhook_calls_key(source) for source in sources)),
        description="Merges the webhooks that wait in the inbox into the tables, of all sources.",
    )
    names = {source.name: source for source in sources}
    stamps = {source.name: _stamp(source) for source in sources}
    hinted = [source for source in sources if source.takes_hints]

    @dg.sensor(
        name=name,
        jobs=[job, *map(build_refresh_job, hinted)],
        minimum_interval_seconds=_INTERVAL_SEC,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Looks every 10 s for webhooks that wait, and starts one run for all of them; where "
            "those of call tracking hint at calls, the source's refresh for their days."
        ),
    )
    @kept_connection()
    def webhook_inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

        url = database_url()
        ensure_schema(url)
        cursor = read_cursor(context.cursor)
        # One that is refused by now would take the others' run along. Projects of others read
        # their files in their own way.
        loaded = {each for each in names if prefix or _is_loadable(names[each], stamps[each])}
        inbox = _plan_inbox(context.instance, url, name, loaded, cursor)
        asked = [source for source in hinted if source.name in loaded]
        hints = _plan_hints(context.instance, url, asked, cursor)
        requests = [_request_refresh(run, names[run.source]) for run in hints.runs]
        if inbox.sources:
            requests.append(_request_inbox_run(inbox, name, names))
        text = " ".join(filter(None, (inbox.text, hints.text)))
        after = write_cursor(InboxCursor(inbox.attempts, hints.attempts))
        if not requests:
            return dg.SensorResult(skip_reason=text, cursor=after)
        context.log.info(text)
        return dg.SensorResult(run_requests=requests, cursor=after)

    return dg.Definitions(jobs=[job], sensors=[webhook_inbox])


def _plan_inbox(
    instance: dg.DagsterInstance, url: str, job: str, names: Collection[str], cursor: InboxCursor
) -> InboxPlan:
    from callkeeper_assets.webhooks.inbox_queries import list_waiting  # noqa: PLC0415

    return plan_inbox_run(
        list_waiting(url),
        loaded=names,
        running=_find_running(instance, url, job),
        cursor=cursor,
        now=datetime.now(UTC),
    )


def _plan_hints(
    instance: dg.DagsterInstance, url: str, sources: Sequence[Source], cursor: InboxCursor
) -> HintPlan:
    from callkeeper_assets.webhooks.inbox_queries import list_hinted_days  # noqa: PLC0415

    days = list_hinted_days(url)
    takers = {source.name: source for source in sources}
    return plan_hint_runs(
        days,
        takers=takers.keys(),
        running={
            name
            for name in {one.source for one in days} & takers.keys()
            if _find_running(instance, url, name_refresh_job(takers[name].stem))
        },
        attempts=cursor.hints,
        now=datetime.now(UTC),
    )


def _request_inbox_run(plan: InboxPlan, job: str, names: Mapping[str, Source]) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=job,
        asset_selection=[webhook_calls_key(names[name]) for name in plan.sources],
        tags={SOURCE_TAG: ", ".join(plan.sources), INBOX_TAG: plan.text, **_BEFORE_OTHERS},
    )


def _request_refresh(run: HintRun, source: Source) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run.key,
        job_name=name_refresh_job(source.stem),
        tags={SOURCE_TAG: run.source, **build_range_tags(run.days.first, run.days.last)},
    )


def _find_running(instance: dg.DagsterInstance, url: str, job: str) -> str | None:
    """Return a job's run that is under way, or soon will be."""
    for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNDER_WAY)):
        if not is_run_dead(instance, url, run):
            return run.run_id
    return None
