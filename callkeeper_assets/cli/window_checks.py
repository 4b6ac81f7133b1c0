"""What `check` finds out about windows: whether a source heeds the bounds that it is asked for.

One day that has calls is asked for, then a minute around one of them: it must bring that call, and
none of elsewhere. Where the API is told a zone, the same minute by another zone's clock must bring
the same call.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.api.client import CallKeeperClient
from callkeeper_assets.api.errors import CallKeeperError
from callkeeper_assets.api.windows import Window
from callkeeper_assets.cli.findings import Finding, State
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import connect, database_url

_WHAT: Final = "windows"
_RECENT_DAYS: Final = 7
_HALF_MINUTE_SEC: Final = 30
# A bound need not be read to the second.
_SLACK_SEC: Final = 60
_OTHER_ZONE: Final = "Europe/Moscow"
_SUPPORT: Final = "ask CallKeeper's support"
_KNOWN: Final = "SELECT to_regclass('callkeeper_calls') IS NOT NULL"
_NEWEST_CALL: Final = """
    SELECT max(c.called_at)
    FROM callkeeper_calls AS c
    JOIN general_accounts AS a ON a.account_id = c.account_id
    WHERE a.name = %(name)s AND c.origin = 'api'
        AND c.called_at >= %(since)s AND c.called_at < %(before)s
"""


def find_known_day(source: Source) -> date | None:
    """Return the newest day before today of which the warehouse holds calls of the source's API."""
    today = source.today()
    values = {
        "name": source.name,
        "since": source.start_of(source.first_day(today)),
        "before": source.start_of(today),
    }
    with connect(database_url(), autocommit=True) as connection:
        known = connection.execute(_KNOWN).fetchone()
        row = connection.execute(_NEWEST_CALL, values).fetchone() if known and known[0] else None
    newest = row[0] if row else None
    return newest.astimezone(source.time_zone).date() if isinstance(newest, datetime) else None


def check_windows(source: Source, client: CallKeeperClient, known_day: date | None) -> Finding:
    """Check one source, whose key is good; `known_day` is one that must have calls."""
    try:
        for day in _list_days(source, known_day):
            picked = client.pick_call(day)
            if picked is not None:
                return _check_call(source, client, day, *picked)
            if day == known_day:
                text = (
                    f"the tables hold calls of {day}, and the source sends none for it. "
                    f"Look at that day in CallKeeper's cabinet; if it has calls, {_SUPPORT}."
                )
                return Finding(source.name, _WHAT, "bad", text)
    except CallKeeperError as error:
        return Finding(source.name, _WHAT, "bad", str(error))
    text = (
        f"no calls in the last {_RECENT_DAYS} days: whether the source heeds the dates that it is "
        "asked for could not be probed. Check again when it has calls."
    )
    return Finding(source.name, _WHAT, "warning", text)


def _list_days(source: Source, known_day: date | None) -> Iterator[date]:
    if known_day is not None:
        yield known_day
        return
    today = source.today()
    for back in range(1, _RECENT_DAYS + 1):
        day = today - timedelta(days=back)
        if day >= source.first_day(today):
            yield day


def _minute_around(epoch: int) -> Window:
    return Window(epoch - _HALF_MINUTE_SEC, epoch + _HALF_MINUTE_SEC)


def _count_outside(found: Mapping[int, int], epoch: int) -> int:
    return sum(abs(each - epoch) > _HALF_MINUTE_SEC + _SLACK_SEC for each in found.values())


def _check_call(
    source: Source, client: CallKeeperClient, day: date, call_id: int, epoch: int
) -> Finding:
    """Ask for the minute around a call of a day that has just been read."""

    def find(state: State, text: str) -> Finding:
        return Finding(source.name, _WHAT, state, text)

    found = client.probe(_minute_around(epoch))
    minute = f"a minute around {datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%S} UTC"
    outside = _count_outside(found, epoch)
    if outside:
        text = (
            f"asked for {minute}, the source sends {len(found)} calls, {outside} of them of other "
            f"times: it does not heed the dates. Days that are loaded so are not whole: {_SUPPORT}."
        )
        return find("bad", text)
    if call_id not in found:
        text = (
            f"asked for {minute}, the source does not send the call of that time, which it sent "
            f"for {day}{_describe_zone(source, client, call_id, epoch)}. Days that are loaded so "
            f"are not whole: {_SUPPORT}."
        )
        return find("bad", text)
    good = f"{minute}, of {day}, brings its call and none of elsewhere"
    if not client.has_zones:
        return find("good", good)
    if call_id not in client.probe(_minute_around(epoch), _OTHER_ZONE):
        text = (
            f"{good}, but not with time_zone={_OTHER_ZONE}: the source does not heed time_zone. "
            f"Loads ask in UTC, which it reads right; should that change, they would be "
            f"refused: {_SUPPORT}."
        )
        return find("warning", text)
    return find("good", f"{good}; time_zone is heeded")


def _describe_zone(source: Source, client: CallKeeperClient, call_id: int, epoch: int) -> str:
    """Say in which zone the source reads bounds instead, if it is one of two; empty if not."""
    moment = datetime.fromtimestamp(epoch, UTC)
    for zone in dict.fromkeys((source.time_zone, ZoneInfo(_OTHER_ZONE))):
        offset = moment.astimezone(zone).utcoffset() or timedelta()
        shifted = _minute_around(epoch + int(offset.total_seconds()))
        if offset and call_id in client.probe(shifted):
            return f": it reads the bounds in {zone.key}, whatever zone it is told"
    return ""
