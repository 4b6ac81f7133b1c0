"""The check `webhooks_arrive`: warns when no webhooks come although calls go on.

A check of the table of calls: whenever that is loaded, the API has just told which calls there
were. A run over the inbox could not tell, since nothing starts one when nothing comes; and a check
of `webhook_calls` would look outdated from the next webhook on.
"""

from datetime import timedelta
from typing import Final

import dagster as dg

from callkeeper_assets.assets.failures import failing_clearly
from callkeeper_assets.assets.resources import WarehouseResource
from callkeeper_assets.config.source import Source
from callkeeper_assets.warehouse.dimensions import CALLS

NAME: Final = "webhooks_arrive"

# So many calls without a webhook are no chance: a source sends two for each.
_MOST_CALLS: Final = 4
_LOOK_BACK: Final = timedelta(days=3)


def has_webhook_check(source: Source) -> bool:
    """Whether the source takes webhooks, and has the table of calls to compare them with."""
    return source.webhook is not None and CALLS in source.tables


def build_webhook_check(source: Source) -> dg.AssetChecksDefinition:
    """Build the check of one source."""

    @dg.asset_check(
        asset=dg.AssetKey([source.name, CALLS]),
        name=NAME,
        description=(
            "Webhooks come while there are calls: the last one is not older than several calls of "
            "the last three days that the API shows."
        ),
    )
    def webhooks_arrive(
        context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
    ) -> dg.AssetCheckResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.webhooks.inbox_queries import measure_silence  # noqa: PLC0415

        with failing_clearly(context), warehouse.open(context, source) as url:
            silence = measure_silence(url, source.name, _LOOK_BACK)
        last = f"{silence.last_at:%Y-%m-%d %H:%M} UTC" if silence.last_at else "the beginning"
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
                **(
                    {"last_webhook": dg.MetadataValue.timestamp(silence.last_at)}
                    if silence.last_at
                    else {}
                ),
            },
        )

    return webhooks_arrive
