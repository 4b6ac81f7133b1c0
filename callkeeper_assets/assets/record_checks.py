"""The checks of what a day's answer was like: records that are no calls, and clocks that disagree.

Judged by what is stored beside the day's raw calls; a day that an older version stored says nothing
of it, and passes.
"""

from typing import Final

import dagster as dg

from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import DayDetails
from callkeeper_assets.warehouse.records import LoadedDay

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


def judge_records(
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


def judge_times(day: LoadedDay, details: DayDetails | None) -> dg.AssetCheckResult:
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
