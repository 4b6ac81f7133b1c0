"""What becomes of a fetched day, for each step that asks a source for its calls.

The guard of raw calls, their details, and the pool that lets one step at a time use a key.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from callkeeper_assets.api.local_times import compare_local_times
from callkeeper_assets.api.records import DayOfCalls
from callkeeper_assets.assets.partitions import first_run_id
from callkeeper_assets.assets.raw_calls_io import DayToStore
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import DayDetails, LocalTimes, build_table
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.guard import DayBalance, find_refusal
from callkeeper_assets.warehouse.records import Guard

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.shield import Shield


def name_pool(source: Source) -> str:
    """Name the pool that lets one step at a time use an API key; sources of one key share it."""
    return f"callkeeper_{source.api_key_env.lower()}"


@dataclass(frozen=True)
class Judgement:
    """Judges the answers of one run: what may replace a stored day.

    Args:
        context: of the run.
        source: that is asked.
        store: where its raw calls lie.
        guard: how much of a day may vanish; None does without.
        shield: what calls pass before anything is written.
    """

    context: dg.AssetExecutionContext
    source: Source
    store: RawStore
    guard: Guard | None
    shield: "Shield"

    def judge(self, fetched: DayOfCalls) -> DayToStore:
        """Turn an answer into a day to store, refused if too many calls of the stored day are gone.

        Raises:
            RawError: The stored day cannot be read.
        """
        refusal = self._find_refusal(fetched)
        if refusal:
            self.context.log.warning(refusal)
        return DayToStore(
            calls=build_table(
                fetched.call_ids,
                fetched.epochs,
                self.shield.pass_calls(fetched.call_ids, fetched.payloads),
            ),
            details=DayDetails(
                source=self.source.name,
                day=fetched.day,
                time_zone=self.source.time_zone.key,
                window_from=fetched.window_from,
                window_to=fetched.window_to,
                requests=fetched.requests,
                fetched_at=fetched.fetched_at,
                run_id=first_run_id(self.context.run),
                refusal=refusal,
                unusable=tuple(Counter(one.reason for one in fetched.unusable).items()),
                local_times=self._compare_times(fetched),
            ),
            unusable=self.shield.pass_unusable(fetched.unusable),
        )

    def describe(self, day: DayToStore) -> dict[str, Any]:
        """Return what Dagster's UI shows of a day of raw calls."""
        details = day.details
        return {
            "dagster/row_count": day.calls.num_rows,
            "window_from": dg.MetadataValue.timestamp(details.window_from),
            "window_to": dg.MetadataValue.timestamp(details.window_to),
            "fetched_at": dg.MetadataValue.timestamp(details.fetched_at),
            "requests": details.requests,
            "unusable_records": sum(count for _, count in details.unusable),
            "file": self.store.locate(self.source.name, details.day),
            **({"refused": details.refusal} if details.refusal else {}),
        }

    def _compare_times(self, fetched: DayOfCalls) -> LocalTimes | None:
        if self.source.api != "ckct":
            return None
        found = compare_local_times(fetched.epochs, fetched.payloads)
        return None if found is None else LocalTimes(**vars(found))

    def _find_refusal(self, fetched: DayOfCalls) -> str:
        """Say why an answer may not replace the stored day; empty if it may."""
        if self.guard is None:
            return ""
        name = self.source.name
        before, now = self.store.read_call_ids(name, fetched.day), set(fetched.call_ids)
        balance = DayBalance(
            day=fetched.day,
            had=len(before),
            sent=len(now),
            held=len(before),
            vanished=len(before - now),
        )
        return find_refusal(name, balance, self.guard) or ""
