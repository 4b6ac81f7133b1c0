"""One running account: its calls as they are now, served, changed on demand, told as truth.

Any thread may ask or change; one lock an account keeps a day from being built twice and a change
from being half seen.
"""

import datetime as dt
import random
import threading
import zoneinfo
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from callkeeper_assets.simulator.calls import NEVER, Call, is_final_status, see_at
from callkeeper_assets.simulator.changes import (
    CHANGED_FIELDS,
    Change,
    ChangedField,
    DayChanges,
    draw_value,
    list_changes,
)
from callkeeper_assets.simulator.clock import Clock
from callkeeper_assets.simulator.days import ServedDay, build_day
from callkeeper_assets.simulator.deliveries import Delivery
from callkeeper_assets.simulator.faults import FaultBox
from callkeeper_assets.simulator.generation import (
    day_bounds,
    draw_call,
    first_id_of,
    generate_day,
)
from callkeeper_assets.simulator.scenery import build_scenery
from callkeeper_assets.simulator.settings import (
    MAX_CALLS_PER_DAY,
    AccountSettings,
    AnswerSettings,
    Fault,
)
from callkeeper_assets.simulator.spoiling import is_spoiled
from callkeeper_assets.simulator.statuses import NOT_FINAL
from callkeeper_assets.simulator.truth import ApiName, Truth, tell_truth
from callkeeper_assets.simulator.unified_list import UnifiedList
from callkeeper_assets.simulator.webhook_settings import EVENTS, WebhookEvent, WebhookSettings
from callkeeper_assets.simulator.webhooks import Webhooks

# A million calls are 1.5 GB. Days beyond this are dropped, the longest unused first, and made again
# when they are asked for.
_CACHE_BYTES: Final = 1_700_000_000
# No call stays open by itself for longer (see `generation.py`).
_LONGEST_OPEN: Final = dt.timedelta(days=3)


class Account:
    """One simulated account of CallKeeper."""

    def __init__(
        self,
        settings: AccountSettings,
        answers: AnswerSettings | None = None,
        clock: Clock | None = None,
        webhooks: WebhookSettings | None = None,
    ) -> None:
        self.settings = settings
        self.answers = answers or AnswerSettings()
        self.clock = clock or Clock()
        self.zone = zoneinfo.ZoneInfo(settings.time_zone)
        self.faults = FaultBox(f"{settings.seed}/{settings.key}/faults")
        self.requests: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.RLock()
        self.scenery = build_scenery(settings)
        self._changes: dict[dt.date, DayChanges] = {}
        self._operations = 0
        self._days: OrderedDict[dt.date, ServedDay] = OrderedDict()
        self._cached_bytes = 0
        self.revision = 0
        self.unified = UnifiedList(self)
        self.webhooks = Webhooks(self, webhooks or WebhookSettings())

    @contextmanager
    def count_request(self, method: str) -> Iterator[None]:
        """Count a request, and how many are under way at once, for tests of a client's limits."""
        with self._lock:
            self.requests[method] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def configure(self, answers: AnswerSettings) -> None:
        """Answer by other switches from now on."""
        with self._lock:
            self.answers = answers
            self._forget_days(list(self._days))

    def set_answers(self, **switches: object) -> None:
        """Change single switches of `AnswerSettings`, by name."""
        self.configure(replace(self.answers, **switches))  # type: ignore[arg-type]

    def set_faults(self, *faults: Fault) -> None:
        """Show these faults in place of all others."""
        self.faults.set(faults)

    def serve_days(self, start: int, end: int) -> list[tuple[ServedDay, int, int]]:
        """The days that a window of epoch seconds meets, each with its calls' positions in it."""
        with self._lock:
            now = self.clock.now()
            end = min(end, now + 1)
            days = (self._serve_day(day, now) for day in self.days_between(start, end))
            return [
                (day, low, high)
                for day in days
                for low, high in (day.cut(start, end),)
                if low < high
            ]

    def find_call(self, call_id: int) -> bytes | None:
        """One call as it is served, or None."""
        day = self._day_of(call_id)
        if day is None:
            return None
        for served, low, high in self.serve_days(*day_bounds(day, self.zone)):
            for position in range(low, high):
                if served.ids[position] == call_id:
                    return served.read(position, position + 1)
        return None

    def warm(self, first: dt.date, last: dt.date, api: ApiName = "callkeeper") -> int:
        """Build the local days from first to last before they are asked for; how many calls."""
        start, end = day_bounds(first, self.zone)[0], day_bounds(last, self.zone)[1]
        if api == "ckct":
            return len(self.unified.read(start, end))
        return sum(high - low for _, low, high in self.serve_days(start, end))

    def truth(
        self,
        first: dt.date,
        last: dt.date,
        time_zone: str | None = None,
        *,
        has_calls: bool = True,
        api: ApiName = "callkeeper",
    ) -> Truth:
        """What the source now holds of a zone's days (its own by default), first to last.

        Of an API: what that one cannot tell is missing, and what it spoils.
        """
        zone = zoneinfo.ZoneInfo(time_zone) if time_zone else self.zone
        start, end = day_bounds(first, zone)[0], day_bounds(last, zone)[1]
        with self._lock:
            calls = [
                call
                for day in self.days_between(start, min(end, self.clock.now() + 1))
                for call in self.see_day(day)
                if start <= call.called_ts < end
            ]
            if api == "ckct":
                calls += self.unified.list_others(start, end)
        share = self.answers.unusable
        calls = [call for call in calls if not is_spoiled(call.call_id, share)]
        return tell_truth(calls, has_calls=has_calls, api=api)

    def change(
        self,
        day: dt.date,
        count: int = 1,
        *,
        column: ChangedField | None = None,
        value: int | str | None = None,
        call_ids: Sequence[int] = (),
    ) -> list[Change]:
        """Change final calls of a day: one field each, drawn where not given.

        Returns:
            One record per canonical column that differs now: a duration brings its minutes along.
        """
        done: list[Change] = []
        with self._lock:
            rng = self._next_rng()
            for call in self._pick(rng, day, count, call_ids):
                name = column if column is not None else rng.choice(CHANGED_FIELDS)
                new = value if value is not None else draw_value(rng, call, name)
                done += self._replace(day, call, call._replace(**{name: new}))  # type: ignore[arg-type]
        return done

    def add(self, day: dt.date, count: int = 1) -> list[Change]:
        """Let calls of a day appear late, at times of that day not after now."""
        with self._lock:
            rng = self._next_rng()
            start, end = day_bounds(day, self.zone)
            end = min(end, self.clock.now() + 1)
            if start >= end or day < self.settings.first_day:
                raise ValueError(
                    f"no call can be added to {day}: the account has calls from"
                    f" {self.settings.first_day} until now"
                )
            changes = self._changes.setdefault(day, DayChanges())
            base = first_id_of(day) + MAX_CALLS_PER_DAY + len(changes.added)
            calls = [
                draw_call(rng, self.scenery, base + n, rng.randrange(start, end))
                for n in range(1, count + 1)
            ]
            changes.added += [call._replace(settles_ts=call.called_ts) for call in calls]
            self._note_change(day)
        return [Change("added", day, call.call_id) for call in calls]

    def remove(self, day: dt.date, count: int = 1, *, call_ids: Sequence[int] = ()) -> list[Change]:
        """Let final calls of a day vanish from the source."""
        with self._lock:
            calls = self._pick(self._next_rng(), day, count, call_ids)
            self._changes.setdefault(day, DayChanges()).removed |= {c.call_id for c in calls}
            self._note_change(day)
        return [Change("removed", day, call.call_id) for call in calls]

    def hold(self, day: dt.date, count: int = 1, *, code: int = 1) -> list[Change]:
        """Make final calls of a day not final (`code`: 1, 2 or 707) until `finalise`.

        Raises:
            ValueError: no such code among those that are not final.
        """
        if code not in NOT_FINAL:
            raise ValueError(f"status code {code} is final; not final are {sorted(NOT_FINAL)}")
        done: list[Change] = []
        with self._lock:
            for call in self._pick(self._next_rng(), day, count, ()):
                done += self._replace(day, call, call._replace(settles_ts=NEVER, open_code=code))
        return done

    def finalise(self, day: dt.date | None = None) -> list[Change]:
        """Bring the calls of a day that are not final, or of all days, to their end at once."""
        done: list[Change] = []
        with self._lock:
            today = dt.datetime.fromtimestamp(self.clock.now(), self.zone).date()
            days = [today - dt.timedelta(days=n) for n in range(_LONGEST_OPEN.days + 1)]
            for each in [day] if day else sorted({*days, *self._changes}):
                for call in self._current_day(each):
                    if self._is_visible(call) and not self._is_final(call):
                        settled = call._replace(settles_ts=call.called_ts)
                        done += self._replace(each, call, settled)
        return done

    def set_webhooks(self, **switches: object) -> None:
        """Change single switches of `WebhookSettings`, by name."""
        self.webhooks.configure(replace(self.webhooks.settings, **switches))  # type: ignore[arg-type]

    def send_webhooks(
        self,
        first: dt.date,
        last: dt.date | None = None,
        *,
        call_ids: Collection[int] = (),
        new: int = 0,
        events: Collection[WebhookEvent] = EVENTS,
        rate: float | None = None,
    ) -> list[Delivery]:
        """Send the webhooks of calls of the local days from first to last, and wait for it.

        Of all calls, of those in `call_ids`, or of `new` ones that are added to the first day; of
        call tracking's too, where the webhooks' switch has them.
        `rate` is webhooks a second, None as fast as the receiver answers. A call that is not final
        yet has no end to tell.

        Returns:
            What came of each, one record a try, in the order of sending.

        Raises:
            ValueError: calls of `call_ids` are not there, or the webhooks have no URL.
        """
        last = last or first
        with self._lock:
            if new:
                call_ids = [change.call_id for change in self.add(first, new)]
            bounds = day_bounds(first, self.zone)[0], day_bounds(last, self.zone)[1]
            known = [call for day in self.days_between(*bounds) for call in self._current_day(day)]
            calls = [
                call
                for call in (*known, *self._list_tracked(*bounds))
                if self._is_visible(call) and (not call_ids or call.call_id in call_ids)
            ]
        if len(calls) < len(set(call_ids)):
            raise ValueError(
                f"{len(set(call_ids))} calls of {first} to {last} were asked for; there are"
                f" {len(calls)} of them"
            )
        return self.webhooks.send(calls, events, rate)

    def list_deliveries(self, call_ids: Collection[int] = (), after: int = 0) -> list[Delivery]:
        """The source's record of webhooks, lost ones too: of these calls, or of all."""
        return self.webhooks.log.list(call_ids, after)

    def list_calls(self, start: int, end: int) -> list[Call]:
        """Calls of a window of epoch seconds as they will have ended, but for late additions."""
        with self._lock:
            late = {call.call_id for each in self._changes.values() for call in each.added}
            return [
                call
                for day in self.days_between(start, end)
                for call in self._current_day(day)
                if start <= call.called_ts < end and call.call_id not in late
            ] + self._list_tracked(start, end)

    def _list_tracked(self, start: int, end: int) -> list[Call]:
        """Calls of call tracking that webhooks tell of."""
        if not self.webhooks.settings.calltracking:
            return []
        others = self.unified.list_others(start, end)
        return [call for call in others if call.service == "calltracking"]

    def _is_visible(self, call: Call) -> bool:
        return call.called_ts <= self.clock.now()

    def _is_final(self, call: Call) -> bool:
        return is_final_status(see_at(call, self.clock.now()))

    def _next_rng(self) -> random.Random:
        self._operations += 1
        name = f"{self.settings.seed}/{self.settings.key}/operation {self._operations}"
        return random.Random(name)  # noqa: S311 - not a secret

    def _current_day(self, day: dt.date) -> list[Call]:
        calls = generate_day(self.settings, self.scenery, day, self.zone)
        changes = self._changes.get(day)
        return changes.apply(calls) if changes else calls

    def see_day(self, day: dt.date) -> list[Call]:
        """A local day's calls as they are shown now."""
        with self._lock:
            now = self.clock.now()
            return [see_at(call, now) for call in self._current_day(day) if call.called_ts <= now]

    def _pick(
        self, rng: random.Random, day: dt.date, count: int, call_ids: Sequence[int]
    ) -> list[Call]:
        calls = [c for c in self._current_day(day) if self._is_visible(c) and self._is_final(c)]
        if call_ids:
            calls = [call for call in calls if call.call_id in call_ids]
            count = len(set(call_ids))
        if len(calls) < count:
            raise ValueError(f"{count} final calls of {day} were asked for; there are {len(calls)}")
        return calls if call_ids else rng.sample(calls, count)

    def _replace(self, day: dt.date, old: Call, new: Call) -> list[Change]:
        self._changes.setdefault(day, DayChanges()).replaced[old.call_id] = new
        self._note_change(day)
        now = self.clock.now()
        return list_changes(day, see_at(old, now), see_at(new, now))

    def _note_change(self, day: dt.date) -> None:
        self.revision += 1
        self._forget_days([day])

    def _day_of(self, call_id: int) -> dt.date | None:
        """The day that an id's range belongs to, see `first_id_of`."""
        first = self.settings.first_day
        days = (call_id - 1 - first_id_of(first)) // (
            first_id_of(first + dt.timedelta(days=1)) - first_id_of(first)
        )
        today = dt.datetime.fromtimestamp(self.clock.now(), self.zone).date()
        return first + dt.timedelta(days=days) if 0 <= days <= (today - first).days else None

    def days_between(self, start: int, end: int) -> Iterator[dt.date]:
        """The local days that a window of epoch seconds meets, from the first that has calls."""
        start = max(start, day_bounds(self.settings.first_day, self.zone)[0])
        if start >= end:
            return
        day = dt.datetime.fromtimestamp(start, self.zone).date()
        last = dt.datetime.fromtimestamp(end - 1, self.zone).date()
        while day <= last:
            yield day
            day += dt.timedelta(days=1)

    def _serve_day(self, day: dt.date, now: int) -> ServedDay:
        served = self._days.get(day)
        if served is not None and served.is_valid(now):
            self._days.move_to_end(day)
            return served
        self._forget_days([day])
        served = self._days[day] = build_day(self._current_day(day), self.answers, now)
        self._cached_bytes += len(served.body)
        while self._cached_bytes > _CACHE_BYTES and len(self._days) > 1:
            self._forget_days([next(iter(self._days))])
        return served

    def _forget_days(self, days: Sequence[dt.date]) -> None:
        for day in days:
            served = self._days.pop(day, None)
            if served is not None:
                self._cached_bytes -= len(served.body)
