"""Fetches days for each step that asks a source for its calls.

The guard of raw calls, what Dagster shows of a day, and the pool that lets one step at a time use a
key.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import msgspec

from callkeeper_assets.api.errors import CallKeeperError
from callkeeper_assets.assets.partitions import first_run_id
from callkeeper_assets.assets.resources import CallKeeperResource
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import Day
from callkeeper_assets.raw.errors import RawError
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
        error: what ended it. The days before are handed out first: whoever takes them raises it
            when they are done.
    """

    context: dg.AssetExecutionContext
    source: Source
    store: RawStore
    guard: Guard | None
    shield: "Shield"
    error: CallKeeperError | RawError | None = None

    @contextmanager
    def open(self, callkeeper: CallKeeperResource, days: Sequence[date]) -> Iterator[Iterator[Day]]:
        """Give the days, in order, each as soon as it is there; `error` says what ended them."""
        with (
            callkeeper.open_client(self.source) as client,
            self.shield.passing(len(days)) as passage,
            closing(client.fetch_days(tuple(days), passage)) as fetched,
        ):
            yield self._check_all(fetched)

    def _check_all(self, fetched: Iterable[Day]) -> Iterator[Day]:
        try:
            yield from map(self.check, fetched)
        except (CallKeeperError, RawError) as error:
            self.error = error

    def check(self, day: Day) -> Day:
        """Take a fetched day over, refused if too many calls of the stored day are gone.

        Raises:
            RawError: The stored day cannot be read.
        """
        balance, details = self._weigh(day), day.details
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
                _name_calls(details.strays),
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
            "dagster/row_count": len(day),
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

    def _weigh(self, fetched: Day) -> DayBalance:
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


def open_fetching(
    context: dg.AssetExecutionContext,
    source: Source,
    store: RawStore,
    guard: Guard | None,
    url: str,
    *,
    notes_setting: bool = True,
) -> Fetching:
    """Prepare a step's fetching; `notes_setting`: whether what is fetched is going to be written.

    Raises:
        MissingSecretError: The key of the source's privacy rule is not in the environment.
        DatabaseError: The database cannot be reached.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.personal_data.shield import open_shield  # noqa: PLC0415

    shield = open_shield(url, source, notes_setting=notes_setting)
    return Fetching(context, source, store, guard, shield)
