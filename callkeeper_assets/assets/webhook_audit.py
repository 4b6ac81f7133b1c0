"""The asset `<source>/webhook_audit`: what CallKeeper says it sent, held against the inbox, by day.

Only of sources whose API lists the webhooks sent for each call. It is made from raw calls, with
every load and refresh: nothing is asked of the source for it. What is lost is in the table
callkeeper_lost_webhooks, and in each day's check.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import dagster as dg

from callkeeper_assets.assets.day_chart import draw_losses
from callkeeper_assets.assets.day_events import (
    log_materializations,
    log_verdicts,
)
from callkeeper_assets.assets.failures import RETRY_POLICY, failing_clearly
from callkeeper_assets.assets.partitions import build_partitions, days_of_run
from callkeeper_assets.assets.resources import RawCallsResource, WarehouseResource
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import configured_webhook_url
from callkeeper_assets.raw.errors import MissingDayError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.webhooks.audit import (
    AuditedDay,
    Hook,
    LostWebhook,
    find_lost,
    rate_loss,
    read_hooks,
)

NAME: Final = "webhook_audit"
CHECK: Final = "webhooks_held"
_TREND_DAYS: Final = 90
_MOST_SHOWN: Final = 10
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


def build_webhook_audit(source: Source) -> dg.AssetsDefinition:
    """Build the asset of a source that has an audit."""
    key = dg.AssetKey([source.name, NAME])
    partitions = build_partitions(source)
    spec = dg.AssetSpec(
        key=key,
        group_name=source.name,
        owners=source.owners,
        description=(
            f"The webhooks that CallKeeper says it sent for each call of {source.caption}, held "
            "against the inbox: which are lost, which were refused, and the answer that it saw."
        ),
        kinds={"callkeeper", "postgres"},
        deps=[dg.AssetKey([source.name, "raw_calls"])],
        partitions_def=partitions,
        # Each day's materialization is logged by hand: a day without raw calls has none.
        skippable=True,
    )
    check = dg.AssetCheckSpec(
        name=CHECK,
        asset=key,
        description="The inbox holds every webhook that CallKeeper says it sent, and refused none.",
        partitions_def=partitions,
    )

    @dg.multi_asset(
        name=f"{source.name}__{NAME}",
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
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.webhooks.audit_log import write_audit  # noqa: PLC0415

        with failing_clearly(context), warehouse.open(context, source) as url:
            audited = list(_audit_days(source, url, raw_store.open_store(), days_of_run(context)))
            write_audit(url, source.name, audited, context.run.run_id)
            _record(context, source, url, audited)
        yield from ()

    return webhook_audit


def _audit_days(
    source: Source, url: str, store: RawStore, days: Sequence[date]
) -> Iterator[AuditedDay]:
    """Audit the days whose raw calls are there, one by one."""
    from callkeeper_assets.webhooks.audit_log import read_held  # noqa: PLC0415

    receiver = configured_webhook_url()
    host = urlsplit(receiver).hostname if receiver else None
    for day in days:
        try:
            calls = store.read(source.name, day).calls
        except MissingDayError:
            continue
        ids, payloads = calls.column("call_id").to_pylist(), calls.column("payload").to_pylist()
        listed = [
            read_hooks(call_id, payload, source.name, host)
            for call_id, payload in zip(ids, payloads, strict=True)
        ]
        hooks: list[Hook] = [hook for of_call in listed for hook in of_call or ()]
        held = read_held(url, source.name, {hook.call_id for hook in hooks}) if hooks else {}
        is_listed = any(of_call is not None for of_call in listed) if listed else None
        yield AuditedDay(day, len(hooks), tuple(find_lost(hooks, held)), is_listed)


def _record(
    context: dg.AssetExecutionContext, source: Source, url: str, audited: Sequence[AuditedDay]
) -> None:
    """Record each day and the result of its check."""
    if not audited:
        return
    metadata: dict[date, dict[str, Any]] = {day.day: _describe(day) for day in audited}
    # The UI shows the newest event's; in each day's it would only fill the event log.
    metadata[max(metadata)]["trend"] = _build_trend(source, url)
    log_materializations(context, dg.AssetKey([source.name, NAME]), metadata)
    # After the materializations: Dagster counts a check's result for the newest one only.
    log_verdicts(
        context,
        [
            (check, day.day, judge_day(source, day))
            for check in sorted(context.selected_asset_check_keys)
            for day in audited
        ],
    )


def _describe(day: AuditedDay) -> dict[str, Any]:
    if day.is_listed is False:
        return {"audit": NOT_AUDITED}
    return {
        "sent": day.sent,
        "lost": day.lost,
        "refused": day.refused,
        "loss_percent": round(100 * rate_loss(day.sent, day.lost), 2),
    }


def _build_trend(source: Source, url: str) -> dg.MarkdownMetadataValue:
    from callkeeper_assets.webhooks.audit_log import read_losses  # noqa: PLC0415

    last = source.today()
    first = last - timedelta(days=_TREND_DAYS - 1)
    return dg.MetadataValue.md(draw_losses(read_losses(url, source.name, first, last), first, last))


def judge_day(source: Source, day: AuditedDay) -> dg.AssetCheckResult:
    """Say what the audit of a day found, and what to do."""
    if day.is_listed is False:
        return dg.AssetCheckResult(
            passed=False,
            description=(
                f"{NOT_AUDITED[0].upper()}{NOT_AUDITED[1:]}. Whether any was lost is not known; "
                "ask CallKeeper's support for `hooks` in the API's answers. `webhooks_arrive` of "
                "callkeeper_calls warns when none comes at all."
            ),
            metadata={"audit": NOT_AUDITED},
            severity=dg.AssetCheckSeverity.WARN,
        )
    counts = {"sent": day.sent, "lost": day.lost, "refused": day.refused}
    if not day.found:
        return dg.AssetCheckResult(passed=True, metadata=counts)
    shown = sorted(day.found, key=lambda one: one.is_held)[:_MOST_SHOWN]
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
