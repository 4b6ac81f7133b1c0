"""Calls of one local day of one account, drawn from the seed, and records that are no calls."""

import datetime as dt
import json
import random
import zoneinfo
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

from callkeeper_assets.simulator.scenery import (
    ADDRESS_BLOCKS,
    NOT_FINAL,
    USER_AGENTS,
    VISITLESS_SOURCES,
    ClientPlace,
    Marks,
    Scenery,
    Site,
    accumulate_shares,
    draw_phone,
    outcome_of,
)
from callkeeper_assets.simulator.settings import AccountSettings

Service = Literal["callback", "calltracking", "import"]

NEVER: Final = 1 << 53
"""A time later than any: what is held not final until somebody finalises it."""


class Visit(NamedTuple):
    """The visit that a call was ordered in; times are epoch seconds."""

    current: Marks
    current_ts: int
    first: Marks
    first_ts: int
    pages: int
    page: str
    ordinal: int
    user_agent: str


class SimulatedCall(NamedTuple):
    """One call; times are epoch seconds, durations seconds, None is unknown to the source.

    `settles_ts` is when it becomes final, `open_code` its first status code until then, `style`
    random bits that decide how its values are spelt (number or string, which kind of missing
    value).
    """

    call_id: int
    called_ts: int
    ordered_ts: int
    settles_ts: int
    open_code: int
    style: int
    status_code: int
    status2_code: int
    duration_sec: int
    duration2_sec: int
    attempt: int
    connection_type: int
    playback_tick: int | None
    asr_attempts: int | None
    place: ClientPlace
    ip: str | None
    site: str
    ga_clientid: str | None
    ya_clientid: str | None
    roistat_visit: str | None
    manager_phone: str
    manager_extension: str | None
    client_phone: str
    widget_hash: str
    widget_name: str
    record_url: str | None
    tags: str | None
    event_source: str
    visit: Visit | None
    service: Service = "callback"


def is_final_status(call: SimulatedCall) -> bool:
    """Whether the status that the call shows can no longer change."""
    return call.status_code not in NOT_FINAL


def see_at(call: SimulatedCall, now: int) -> SimulatedCall:
    """The call as shown at `now`: open, without durations and recording, until it settles."""
    if call.settles_ts <= now:
        return call
    return call._replace(
        status_code=call.open_code,
        status2_code=0,
        duration_sec=0,
        duration2_sec=0,
        record_url=None,
        connection_type=0,
    )


def count_minutes(seconds: int) -> int:
    """Charged minutes: every begun minute counts."""
    return -(-seconds // 60)


# Above 2^31, so that a column of four bytes is found out.
_FIRST_ID: Final = 3_000_000_000
_IDS_PER_DAY: Final = 100_000
_EPOCH_DAY: Final = dt.date(2015, 1, 1).toordinal()
_WEEKDAYS: Final = (1.22, 1.2, 1.15, 1.12, 1.06, 0.7, 0.55)
_HOURS: Final = (
    2,
    1,
    1,
    1,
    1,
    2,
    4,
    9,
    28,
    62,
    86,
    92,
    84,
    76,
    82,
    84,
    80,
    74,
    58,
    40,
    30,
    22,
    12,
    5,
)
_HOUR_SHARES: Final = accumulate_shares(_HOURS)
_SEAM_SHARE: Final = 2 / 3
_HOUR: Final = 3600


def day_bounds(day: dt.date, zone: zoneinfo.ZoneInfo) -> tuple[int, int]:
    """A local day's first second and the next day's, as epoch seconds: 23, 24 or 25 hours apart."""
    midnights = (
        dt.datetime(each.year, each.month, each.day, tzinfo=zone)
        for each in (day, day + dt.timedelta(days=1))
    )
    start, end = (int(midnight.timestamp()) for midnight in midnights)
    return start, end


def count_calls(settings: AccountSettings, day: dt.date, rng: random.Random) -> int:
    """How many calls the day has, by the account's rhythm."""
    if day < settings.first_day:
        return 0
    if settings.rhythm == "flat":
        return settings.calls_per_day
    noise = 0.9 + 0.2 * rng.random()
    return round(settings.calls_per_day * _WEEKDAYS[day.weekday()] * noise)


def _draw_times(rng: random.Random, count: int, start: int, end: int) -> list[int]:
    """Sorted times of calls: business hours of the local day, now and then its very edges."""
    draw = rng.random
    times = [
        min(start + bisect(_HOUR_SHARES, draw()) * _HOUR + int(draw() * _HOUR), end - 1)
        for _ in range(count)
    ]
    if count > 1 and draw() < _SEAM_SHARE:
        times[0], times[1] = start, end - 1
    times.sort()
    return times


def _draw_durations(rng: random.Random, code: int, code2: int) -> tuple[int, int]:
    """Seconds of the call and of its talk, as its end allows."""
    outcome = outcome_of(code, code2)
    if outcome == "talked":
        talk = 3 + min(int(rng.expovariate(1 / 95)), 3600)
        return talk + 6 + int(rng.random() * 30), talk
    if outcome == "client_failed":
        return 5 + int(rng.random() * 55), 0
    return (int(rng.random() * 45), 0) if outcome == "manager_failed" else (0, 0)


def _draw_visit(rng: random.Random, site: Site, called_ts: int) -> Visit:
    draw = rng.random
    # Squared, so that few marks carry most visits, as few campaigns do.
    current = site.marks[int(draw() ** 2 * len(site.marks))]
    pages = 1 + int(rng.expovariate(0.45))
    ordinal = 1 if draw() < 0.55 else 2 + int(rng.expovariate(0.6))  # noqa: PLR2004
    current_ts = called_ts - 20 * pages - int(draw() * 400)
    first, first_ts = current, current_ts
    if ordinal > 1:
        first = site.marks[int(draw() * len(site.marks))]
        first_ts -= int(draw() * 40 * 86400)
    page = site.pages[int(draw() * len(site.pages))]
    agent = USER_AGENTS[int(draw() ** 2 * len(USER_AGENTS))]
    return Visit(current, current_ts, first, first_ts, pages, page, ordinal, agent)


def _draw_settling(rng: random.Random, called_ts: int, duration_sec: int) -> tuple[int, int]:
    """When the call becomes final, and its status code until then."""
    share = rng.random()
    if share < 0.004:  # noqa: PLR2004 - four in a thousand wait for the operator's status
        return called_ts + _HOUR + int(rng.random() * 40 * _HOUR), 707
    if share < 0.01:  # noqa: PLR2004 - six in a thousand are planned for later
        return called_ts + _HOUR + int(rng.random() * 20 * _HOUR), 2
    return called_ts + duration_sec, 1


def draw_call(rng: random.Random, scenery: Scenery, call_id: int, called_ts: int) -> SimulatedCall:
    """One call at the given time."""
    draw = rng.random
    status = scenery.statuses[int(draw() * len(scenery.statuses))]
    site = scenery.sites[int(draw() * len(scenery.sites))]
    place = scenery.places[int(draw() * len(scenery.places))]
    source = scenery.event_sources[int(draw() * len(scenery.event_sources))]
    duration, talk = _draw_durations(rng, status.code, status.code2)
    settles_ts, open_code = _draw_settling(rng, called_ts, duration)
    manager, extension = scenery.managers[int(draw() * len(scenery.managers))]
    widget_hash, widget_name = scenery.widgets[int(draw() ** 2 * len(scenery.widgets))]
    visit = None if source in VISITLESS_SOURCES else _draw_visit(rng, site, called_ts)
    bits = rng.getrandbits(96)
    dialled = duration > 0
    connection = 1 + bits % 5 if talk else 0
    return SimulatedCall(
        call_id=call_id,
        called_ts=called_ts,
        ordered_ts=called_ts - bits % 90,
        settles_ts=settles_ts,
        open_code=open_code,
        style=bits >> 64,
        status_code=status.code,
        status2_code=status.code2,
        duration_sec=duration,
        duration2_sec=talk,
        attempt=1 if draw() < 0.8 else 2 + (bits >> 8) % 4,  # noqa: PLR2004
        connection_type=connection,
        playback_tick=1 + (bits >> 16) % 4 if dialled else None,
        asr_attempts=(bits >> 18) % 4 if connection else None,
        place=place,
        ip=f"{ADDRESS_BLOCKS[(bits >> 20) % 8]}.{(bits >> 24) % 256}.{1 + (bits >> 32) % 254}"
        if visit
        else None,
        site=site.domain,
        ga_clientid=f"{bits >> 66}.{called_ts - 86400 * (bits % 90)}"
        if visit and bits & 7
        else None,
        ya_clientid=f"{called_ts}{bits >> 67:09d}" if visit and bits & 56 else None,
        roistat_visit=str(bits >> 76) if visit and not bits & 192 else None,
        manager_phone=manager,
        manager_extension=extension,
        client_phone=draw_phone((bits >> 12) % 10**9),
        widget_hash=widget_hash,
        widget_name=widget_name,
        record_url=f"https://records.callkeeper.ru/{call_id}/{bits >> 48:012x}.mp3"
        if talk
        else None,
        tags=scenery.tags[(bits >> 40) % len(scenery.tags)] if draw() < 0.12 else None,  # noqa: PLR2004
        event_source=source,
        visit=visit,
    )


_REGULARS: Final = 60
_MOST_ATTEMPTS: Final = 4
_TRIED_AGAIN: Final = 0.7
_OF_DAY: Final = 0.3


def first_id_of(day: dt.date) -> int:
    """The id before a day's first: ids of a day lie together, and later days have higher ones."""
    return _FIRST_ID + (day.toordinal() - _EPOCH_DAY) * _IDS_PER_DAY


def generate_day(
    settings: AccountSettings, scenery: Scenery, day: dt.date, zone: zoneinfo.ZoneInfo
) -> list[SimulatedCall]:
    """All calls of one local day, sorted by time, final; `see_at` shows them at a moment."""
    rng = random.Random(f"{settings.seed}/{settings.key}/{day.isoformat()}")  # noqa: S311
    count = count_calls(settings, day, rng)
    start, end = day_bounds(day, zone)
    base = first_id_of(day)
    calls = [
        draw_call(rng, scenery, base + n, called_ts)
        for n, called_ts in enumerate(_draw_times(rng, count, start, end), start=1)
    ]
    return _bring_clients_back(calls, settings, rng) if settings.returning else calls


def _take_client(call: SimulatedCall, other: SimulatedCall) -> SimulatedCall:
    """Return a call as one of the client who made another."""
    return call._replace(
        client_phone=other.client_phone,
        place=other.place,
        ip=other.ip,
        ga_clientid=other.ga_clientid,
        ya_clientid=other.ya_clientid,
    )


def _bring_clients_back(
    calls: Sequence[SimulatedCall], settings: AccountSettings, rng: random.Random
) -> list[SimulatedCall]:
    """Have clients call again, of the day or regular ones, and orders that failed be tried again.

    Attempts of an order follow each other: so the unified API lists the ids of those before.
    """
    pool = random.Random(f"{settings.seed}/{settings.key}/clients")  # noqa: S311
    regulars = [draw_phone(pool.randrange(10**9)) for _ in range(_REGULARS)]
    made: list[SimulatedCall] = []
    for call in calls:
        before = made[-1] if made else None
        if before and before.duration2_sec == 0 and before.attempt <= _MOST_ATTEMPTS - 1:
            again = _take_client(call, before)._replace(
                attempt=before.attempt + 1,
                ordered_ts=before.ordered_ts,
                site=before.site,
                visit=before.visit,
                event_source=before.event_source,
            )
            is_tried = rng.random() < _TRIED_AGAIN
        else:
            again, is_tried = call, False
        if is_tried:
            made.append(again)
            continue
        first = call._replace(attempt=1)
        if rng.random() < settings.returning:
            is_of_day = made and rng.random() < _OF_DAY
            first = (
                _take_client(first, rng.choice(made))
                if is_of_day
                else first._replace(client_phone=rng.choice(regulars))
            )
        made.append(first)
    return made


Record = dict[str, Any]
_ZEROS: Final = "0000-00-00 00:00:00"


def _without_times(value: object, *names: str) -> Callable[[Record], Record]:
    return lambda record: {**record, **dict.fromkeys(names, value)}


_OF_STATISTICS: Final[tuple[Callable[[Record], Any], ...]] = (
    lambda record: {**record, "id": None},
    lambda record: {**record, "id": float(record["id"])},
    lambda record: {**record, "id": -int(record["id"])},
    lambda record: {name: value for name, value in record.items() if name != "id"},
    _without_times(None, "date", "date_timestamp"),
    lambda record: {**record, "date": _ZEROS, "date_timestamp": 0},
    lambda record: list(record.values()),
    lambda record: {"phone2": record["phone2"], "order_date": record["order_date"]},
    json.dumps,
)
_OF_UNIFIED: Final[tuple[Callable[[Record], Record], ...]] = (
    lambda record: {**record, "cbCallId": 0, "ctCallId": 0, "universalId": "A17"},
    lambda record: {**record, "cbCallId": 1.5, "ctCallId": "", "universalId": None},
    _without_times("", "callTime", "localDate", "cbOrderDate"),
    _without_times(_ZEROS, "callTime", "localDate", "cbOrderDate"),
)


def is_struck(call_id: int, share: float, fault: str) -> bool:
    """Whether a fault that strikes a share of the calls strikes this one."""
    return share > 0 and crc32(f"{fault}/{call_id}".encode()) < share * 2**32


def is_spoiled(call_id: int, share: float) -> bool:
    """Whether a call is sent as a record that cannot be used."""
    return is_struck(call_id, share, "unusable")


def spoil(rendered: bytes, call_id: int) -> bytes:
    """A call of the statistics API as a record that cannot be used."""
    way = _OF_STATISTICS[call_id % len(_OF_STATISTICS)]
    return json.dumps(way(json.loads(rendered)), ensure_ascii=False).encode()


def spoil_unified(rendered: bytes, call_id: int) -> bytes:
    """As `spoil`, of the unified API: from after the number of its page to its end."""
    record = _OF_UNIFIED[call_id % len(_OF_UNIFIED)](json.loads(b"{" + rendered))
    return json.dumps(record, ensure_ascii=False).encode()[1:]
