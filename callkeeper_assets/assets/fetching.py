"""What becomes of a fetched day, for each step that asks a source for its calls.

The guard of raw calls, their details, and the pool that lets one step at a time use a key.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from callkeeper_assets.api.local_times import compare_local_times
from callkeeper_assets.api.records import DayOfCalls
from callkeeper_assets.assets.partitions import first_run_id
from callkeeper_assets.assets.raw_calls_io import DayToStore
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import DayDetails, LocalTimes, build_table
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.guard import DayBalance, find_refusal, is_worth_keeping
from callkeeper_assets.warehouse.records import Guard

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.shield import Shield


_MOST_NAMED: Final = 50


def name_pool(source: Source) -> str:
    """Name the pool that lets one step at a time use an API key; sources of one key share it."""
    return f"callkeeper_{source.api_key_env.lower()}"


def _name_calls(call_ids: Sequence[int]) -> str:
    """List calls by id, a page of them at the most."""
    shown = ", ".join(map(str, call_ids[:_MOST_NAMED]))
    more = len(call_ids) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class Judgement:
    """Judges the answers of one run: what may replace a stored day.

    Args:
        context: of the run.
        source: that is asked.
        store: where its raw calls lie.
        guard: how much of a day may vanish; None does without.
        shield: what records pass before anything is written.
    """

    context: dg.AssetExecutionContext
    source: Source
    store: RawStore
    guard: Guard | None
    shield: "Shield"

    def judge(self, fetched: DayOfCalls) -> DayToStore:
        """Turn an answer into a day to store, refused if too many calls of the stored day are gone.

        Args:
            fetched: its calls have passed the shield.

        Raises:
            RawError: The stored day cannot be read.
        """
        balance = self._weigh(fetched)
        refusal = ""
        if self.guard:
            refusal = find_refusal(self.source.name, balance, self.guard) or ""
        lost = balance.lost if self.guard and is_worth_keeping(balance) else 0
        if refusal:
            self.context.log.warning(refusal)
        if fetched.strays:
            self.context.log.warning(
                "%s: %d calls came that lie outside of the day that was asked for, and were left "
                "out; their own day has them, if the source sends them for it: %s",
                fetched.day,
                len(fetched.strays),
                _name_calls(fetched.strays),
            )
        return DayToStore(
            calls=build_table(fetched.call_ids, fetched.epochs, fetched.payloads),
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
                most_calls=max(balance.before, balance.sent),
                lost=lost,
                strays=fetched.strays,
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
            **({"lost_calls": details.lost} if details.lost and not details.refusal else {}),
            **({"calls_outside": _name_calls(details.strays)} if details.strays else {}),
        }

    def _compare_times(self, fetched: DayOfCalls) -> LocalTimes | None:
        if self.source.api != "ckct":
            return None
        found = compare_local_times(fetched.epochs, fetched.payloads)
        return None if found is None else LocalTimes(**vars(found))

    def _weigh(self, fetched: DayOfCalls) -> DayBalance:
        """Compare an answer with the stored day; without a guard nothing counts but the answer."""
        name, day, now = self.source.name, fetched.day, set(fetched.call_ids)
        found = self.store.look_up(name, day) if self.guard else None
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
