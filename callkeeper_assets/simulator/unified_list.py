"""An account's calls as the unified API lists them: callbacks and the calls of other services.

The callbacks are the account's own, changes and all: one truth served through both APIs. The others
are drawn from the seed as callbacks are, and stay as they are. Days are kept rendered until a call
or a webhook of the account changes.
"""

import contextlib
import datetime as dt
import random
import threading
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from callkeeper_assets.simulator.calls import Call, Service
from callkeeper_assets.simulator.changes import Change
from callkeeper_assets.simulator.clock import Clock
from callkeeper_assets.simulator.deliveries import Delivery
from callkeeper_assets.simulator.generation import day_bounds, draw_call, first_id_of
from callkeeper_assets.simulator.places import DISTRICT_HOURS
from callkeeper_assets.simulator.scenery import Scenery
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets.simulator.spoiling import is_spoiled, is_struck, spoil_unified
from callkeeper_assets.simulator.unified_rendering import render_unified_call
from callkeeper_assets.simulator.webhooks import Webhooks

# A callback's ids begin above 3e9; other services count from 1.
_FIRST_ID: Final = first_id_of(dt.date(2015, 1, 1))


class ListedAccount(Protocol):
    """What is known here of an account."""

    settings: AccountSettings
    answers: AnswerSettings
    clock: Clock
    zone: zoneinfo.ZoneInfo
    scenery: Scenery
    revision: int
    webhooks: Webhooks

    def days_between(self, start: int, end: int) -> Iterator[dt.date]:
        """The local days that a window of epoch seconds meets."""

    def see_day(self, day: dt.date) -> list[Call]:
        """A local day's callbacks as they are shown now."""

    def add(self, day: dt.date, count: int = 1) -> list[Change]:
        """Let callbacks appear."""

    def remove(self, day: dt.date, count: int = 1) -> list[Change]:
        """Let callbacks vanish."""


@dataclass(frozen=True)
class _Day:
    basis: tuple[int, ...]
    times: list[int]
    pieces: list[bytes]


class UnifiedList:
    """The list of one account; any thread may read it."""

    def __init__(self, account: ListedAccount) -> None:
        self._account = account
        self._days: dict[dt.date, _Day] = {}
        self._lock = threading.Lock()
        name = f"{account.settings.seed}/{account.settings.key}/moves"
        self._rng = random.Random(name)  # noqa: S311 - not a secret

    def read(self, start: int, end: int) -> list[bytes]:
        """The rendered calls of a window of epoch seconds, in the order of the account's switch."""
        account = self._account
        with self._lock:
            now = account.clock.now()
            end = min(end, now + 1)
            pieces: list[bytes] = []
            for day in account.days_between(start, end):
                found = self._read_day(day, now)
                low, high = bisect_left(found.times, start), bisect_left(found.times, end)
                pieces += found.pieces[low:high]
        return pieces[::-1] if account.answers.unified_order == "newest" else pieces

    def move(self, start: int, end: int) -> None:
        """Let a call of the window come or go, with the switch's probability."""
        if self._rng.random() >= self._account.answers.unified_moves:
            return
        days = list(self._account.days_between(start, min(end, self._account.clock.now() + 1)))
        if days:
            act = self._rng.choice((self._account.add, self._account.remove))
            # A day with no call that can go stays as it is.
            with contextlib.suppress(ValueError):
                act(self._rng.choice(days), 1)

    def list_others(self, start: int, end: int) -> list[Call]:
        """The calls of other services in a window of epoch seconds."""
        return [
            call
            for day in self._account.days_between(start, end)
            for call in self._draw_others(day)
            if start <= call.called_ts < end
        ]

    def _read_day(self, day: dt.date, now: int) -> _Day:
        account, log = self._account, self._account.webhooks.log
        basis: tuple[int, ...] = (
            account.revision,
            log.count,
            hash((account.answers.unknown_fields, account.answers.unified_hooks, *self._shares())),
        )
        known = self._days.get(day)
        if known and known.basis in {basis, (*basis, now)}:
            return known
        callbacks = account.see_day(day)
        others = [call for call in self._draw_others(day) if call.called_ts <= now]
        calls = sorted([*callbacks, *others], key=lambda call: (call.called_ts, call.call_id))
        told: dict[int, list[Delivery]] = {}
        for delivery in log.list():
            told.setdefault(delivery.call_id, []).append(delivery)
        end = day_bounds(day, account.zone)[1]
        is_settled = end <= now and all(call.settles_ts <= now for call in callbacks)
        self._days[day] = found = _Day(
            basis=basis if is_settled else (*basis, now),
            times=[call.called_ts for call in calls],
            pieces=[
                self._render(call, told.get(call.call_id, ()) if call.service != "import" else ())
                for call in calls
            ],
        )
        return found

    def _shares(self) -> tuple[float, float]:
        return self._account.answers.unusable, self._account.answers.without_call_time

    def _render(self, call: Call, deliveries: Sequence[Delivery]) -> bytes:
        unusable, without_time = self._shares()
        rendered = render_unified_call(
            call,
            deliveries,
            self._offset_sec(call),
            has_more=self._account.answers.unknown_fields,
            has_hooks=self._account.answers.unified_hooks,
            has_time=not is_struck(call.call_id, without_time, "without_call_time"),
        )
        if is_spoiled(call.call_id, unusable):
            return spoil_unified(rendered, call.call_id)
        return rendered

    def _offset_sec(self, call: Call) -> int:
        """How far the client's clock is ahead: the account's, where the place tells no other."""
        hours = DISTRICT_HOURS.get(call.place.district or "")
        if hours is not None:
            return hours * 3600
        offset = dt.datetime.fromtimestamp(call.called_ts, self._account.zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0

    def _draw_others(self, day: dt.date) -> list[Call]:
        settings = self._account.settings
        counts: dict[Service, int] = {
            "calltracking": settings.calltracking_per_day,
            "import": settings.imports_per_day,
        }
        start, end = day_bounds(day, self._account.zone)
        calls = []
        for service, count in counts.items():
            rng = random.Random(f"{settings.seed}/{settings.key}/{day}/{service}")  # noqa: S311
            for number in range(count):
                own_id = first_id_of(day) - _FIRST_ID + number + 1
                drawn = draw_call(rng, self._account.scenery, own_id, rng.randrange(start, end))
                calls.append(_turn_into(drawn, service))
        return calls


def _turn_into(call: Call, service: Service) -> Call:
    """The same call without what only callbacks have."""
    return call._replace(
        service=service,
        settles_ts=call.called_ts,
        connection_type=0,
        attempt=0,
        asr_attempts=None,
        playback_tick=None,
        manager_extension=None,
        widget_hash="",
        widget_name="",
        event_source="",
    )
