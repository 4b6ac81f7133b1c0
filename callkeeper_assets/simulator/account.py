"""One running account: its calls as they are now, served, changed on demand, with faults."""

import contextlib
import datetime as dt
import random
import threading
import zoneinfo
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from callkeeper_assets.simulator.generation import (
    NEVER,
    Service,
    SimulatedCall,
    day_bounds,
    draw_call,
    first_id_of,
    generate_day,
    is_final_status,
    is_spoiled,
    is_struck,
    see_at,
    spoil_unified,
)
from callkeeper_assets.simulator.rendering import ServedDay, build_day, render_unified_call
from callkeeper_assets.simulator.scenery import DISTRICT_HOURS, NOT_FINAL, Scenery, build_scenery
from callkeeper_assets.simulator.settings import (
    MAX_CALLS_PER_DAY,
    AccountSettings,
    AnswerSettings,
    Clock,
    Fault,
)
from callkeeper_assets.simulator.truth import (
    CHANGED_FIELDS,
    ApiName,
    ChangedField,
    DayChanges,
    Truth,
    TruthChange,
    build_truth,
    draw_value,
    list_changes,
)
from callkeeper_assets.simulator.webhook_settings import (
    EVENTS,
    SentDelivery,
    WebhookEvent,
    WebhookSettings,
)
from callkeeper_assets.simulator.webhooks import Webhooks


class FaultBox:
    """The faults of one account that are switched on.

    The draws follow the seed in the order of requests: alike for a client that asks one thing after
    another.
    """

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - not a secret
        self._lock = threading.Lock()
        self._faults: tuple[Fault, ...] = ()
        self._left: list[int | None] = []

    def set(self, faults: Sequence[Fault]) -> None:
        """Put these faults in place of all others; none of them: every request goes well."""
        with self._lock:
            self._faults = tuple(faults)
            self._left = [fault.times for fault in faults]

    def list(self) -> tuple[Fault, ...]:
        """The faults that can still strike."""
        with self._lock:
            return tuple(
                fault for fault, left in zip(self._faults, self._left, strict=True) if left != 0
            )

    def strike(self, method: str) -> tuple[Fault, ...]:
        """The faults of one request: every latency drawn, and the first of the others.

        A fault that is not reached because another struck first keeps its count.
        """
        struck: list[Fault] = []
        with self._lock:
            for position, fault in enumerate(self._faults):
                left = self._left[position]
                if left == 0 or (fault.methods and method not in fault.methods):
                    continue
                if self._rng.random() >= fault.probability:
                    continue
                if left is not None:
                    self._left[position] = left - 1
                struck.append(fault)
                if fault.kind != "latency":
                    break
        return tuple(struck)


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

    def see_day(self, day: dt.date) -> list[SimulatedCall]:
        """A local day's callbacks as they are shown now."""

    def add(self, day: dt.date, count: int = 1) -> list[TruthChange]:
        """Let callbacks appear."""

    def remove(self, day: dt.date, count: int = 1) -> list[TruthChange]:
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

    def list_others(self, start: int, end: int) -> list[SimulatedCall]:
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
        sent: dict[int, list[SentDelivery]] = {}
        for delivery in log.list():
            sent.setdefault(delivery.call_id, []).append(delivery)
        end = day_bounds(day, account.zone)[1]
        is_settled = end <= now and all(call.settles_ts <= now for call in callbacks)
        self._days[day] = found = _Day(
            basis=basis if is_settled else (*basis, now),
            times=[call.called_ts for call in calls],
            pieces=[
                self._render(call, sent.get(call.call_id, ()) if call.service != "import" else ())
                for call in calls
            ],
        )
        return found

    def _shares(self) -> tuple[float, float]:
        return self._account.answers.unusable, self._account.answers.without_call_time

    def _render(self, call: SimulatedCall, deliveries: Sequence[SentDelivery]) -> bytes:
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

    def _offset_sec(self, call: SimulatedCall) -> int:
        """How far the client's clock is ahead: the account's, where the place has no other."""
        hours = DISTRICT_HOURS.get(call.place.district or "")
        if hours is not None:
            return hours * 3600
        offset = dt.datetime.fromtimestamp(call.called_ts, self._account.zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0

    def _draw_others(self, day: dt.date) -> list[SimulatedCall]:
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


def _turn_into(call: SimulatedCall, service: Service) -> SimulatedCall:
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


# A million calls are 1.5 GB. Days beyond this are dropped, the longest unused first, and made again
# when they are asked for.
_CACHE_BYTES: Final = 1_700_000_000
# No call stays open by itself for longer (see `generation.py`).
_LONGEST_OPEN: Final = dt.timedelta(days=3)


class SimulatedAccount:
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

        Of an API: what that one cannot send is missing, and what it spoils.
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
        return build_truth(calls, has_calls=has_calls, api=api)

    def change(
        self,
        day: dt.date,
        count: int = 1,
        *,
        column: ChangedField | None = None,
        value: int | str | None = None,
        call_ids: Sequence[int] = (),
    ) -> list[TruthChange]:
        """Change final calls of a day: one field each, drawn where not given.

        Returns:
            One record per canonical column that differs now: a duration brings its minutes along.
        """
        done: list[TruthChange] = []
        with self._lock:
            rng = self._next_rng()
            for call in self._pick(rng, day, count, call_ids):
                name = column if column is not None else rng.choice(CHANGED_FIELDS)
                new = value if value is not None else draw_value(rng, call, name)
                done += self._replace(day, call, call._replace(**{name: new}))  # type: ignore[arg-type]
        return done

    def add(self, day: dt.date, count: int = 1) -> list[TruthChange]:
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
        return [TruthChange("added", day, call.call_id) for call in calls]

    def remove(
        self, day: dt.date, count: int = 1, *, call_ids: Sequence[int] = ()
    ) -> list[TruthChange]:
        """Let final calls of a day vanish from the source."""
        with self._lock:
            calls = self._pick(self._next_rng(), day, count, call_ids)
            self._changes.setdefault(day, DayChanges()).removed |= {c.call_id for c in calls}
            self._note_change(day)
        return [TruthChange("removed", day, call.call_id) for call in calls]

    def hold(self, day: dt.date, count: int = 1, *, code: int = 1) -> list[TruthChange]:
        """Make final calls of a day not final (`code`: 1, 2 or 707) until `finalise`.

        Raises:
            ValueError: no such code among those that are not final.
        """
        if code not in NOT_FINAL:
            raise ValueError(f"status code {code} is final; not final are {sorted(NOT_FINAL)}")
        done: list[TruthChange] = []
        with self._lock:
            for call in self._pick(self._next_rng(), day, count, ()):
                done += self._replace(day, call, call._replace(settles_ts=NEVER, open_code=code))
        return done

    def finalise(self, day: dt.date | None = None) -> list[TruthChange]:
        """Bring the calls of a day that are not final, or of all days, to their end at once."""
        done: list[TruthChange] = []
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
    ) -> list[SentDelivery]:
        """Send the webhooks of calls of the local days from first to last, and wait for it.

        Of all calls, of those in `call_ids`, or of `new` ones that are added to the first day; of
        call tracking's too, where the webhooks' switch has them.
        `rate` is webhooks a second, None as fast as the receiver answers. A call that is not final
        yet has no end to report.

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

    def list_deliveries(self, call_ids: Collection[int] = (), after: int = 0) -> list[SentDelivery]:
        """The source's record of webhooks, lost ones too: of these calls, or of all."""
        return self.webhooks.log.list(call_ids, after)

    def list_calls(self, start: int, end: int) -> list[SimulatedCall]:
        """Calls of a window of epoch seconds as they will have ended, but for late additions."""
        with self._lock:
            late = {call.call_id for each in self._changes.values() for call in each.added}
            return [
                call
                for day in self.days_between(start, end)
                for call in self._current_day(day)
                if start <= call.called_ts < end and call.call_id not in late
            ] + self._list_tracked(start, end)

    def _list_tracked(self, start: int, end: int) -> list[SimulatedCall]:
        """Calls of call tracking that webhooks report."""
        if not self.webhooks.settings.calltracking:
            return []
        others = self.unified.list_others(start, end)
        return [call for call in others if call.service == "calltracking"]

    def _is_visible(self, call: SimulatedCall) -> bool:
        return call.called_ts <= self.clock.now()

    def _is_final(self, call: SimulatedCall) -> bool:
        return is_final_status(see_at(call, self.clock.now()))

    def _next_rng(self) -> random.Random:
        self._operations += 1
        name = f"{self.settings.seed}/{self.settings.key}/operation {self._operations}"
        return random.Random(name)  # noqa: S311 - not a secret

    def _current_day(self, day: dt.date) -> list[SimulatedCall]:
        calls = generate_day(self.settings, self.scenery, day, self.zone)
        changes = self._changes.get(day)
        return changes.apply(calls) if changes else calls

    def see_day(self, day: dt.date) -> list[SimulatedCall]:
        """A local day's calls as they are shown now."""
        with self._lock:
            now = self.clock.now()
            return [see_at(call, now) for call in self._current_day(day) if call.called_ts <= now]

    def _pick(
        self, rng: random.Random, day: dt.date, count: int, call_ids: Sequence[int]
    ) -> list[SimulatedCall]:
        calls = [c for c in self._current_day(day) if self._is_visible(c) and self._is_final(c)]
        if call_ids:
            calls = [call for call in calls if call.call_id in call_ids]
            count = len(set(call_ids))
        if len(calls) < count:
            raise ValueError(f"{count} final calls of {day} were asked for; there are {len(calls)}")
        return calls if call_ids else rng.sample(calls, count)

    def _replace(self, day: dt.date, old: SimulatedCall, new: SimulatedCall) -> list[TruthChange]:
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
