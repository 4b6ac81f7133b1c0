"""Webhooks of call tracking: they name no call, and so only hint at one, on some day.

Told by the names of their parameters, which the account's owner may have changed: then by what
`webhook.fields` says of them. Pure. What becomes of a hint is decided in `runs.hint_plan`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.raw.call_ids import read_call_id
from callkeeper_assets.webhooks.document import Document, read_value

# Those of the vendor's list that no webhook of a callback has.
_PARAMETERS: Final = (
    *("client_number", "calltracking_number", "manager_number", "time_start", "dtmf_pressed"),
    *("call_status", "call_type", "company_name", "office_name", "source_type"),
)
# What the owner may have named for callbacks as well: the two numbers, and the time.
_RENAMED: Final = ("phone2", "phone1", "date")
_TIME: Final = "time_start"
_FORMATS: Final = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")
_LATEST_EPOCH: Final = 7_258_118_400  # 2200
# The slowest that an account can have webhooks sent is once an hour.
_DELAY: Final = timedelta(hours=1)
# How far zones are from each other, and a little more.
_FAR: Final = timedelta(hours=27)
_NEAR_MIDNIGHT: Final = timedelta(hours=3)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Hint:
    """A call somewhere; `started_at` without a zone if the payload names none, None if no time."""

    started_at: datetime | None


def read_hint(document: Document, fields: Mapping[str, str]) -> Hint | None:
    """Return what a payload without a usable call hints at; None if it is none of call tracking.

    Args:
        document: The payload's.
        fields: By path in a raw call, the name under which this account sends the value.
    """
    if read_value(document, fields.get("hook_event", "hook_event")):
        return None
    names = (*_PARAMETERS, *(fields[path] for path in _RENAMED if path in fields))
    if not any(name in document for name in names):
        return None
    values = (read_value(document, name) for name in (_TIME, fields.get("date", _TIME)))
    return Hint(next((at for value in values if (at := _read_time(value))), None))


def _read_time(value: object) -> datetime | None:
    epoch = read_call_id(value)
    if epoch is not None:
        return datetime.fromtimestamp(epoch, UTC) if 0 < epoch < _LATEST_EPOCH else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    for pattern in _FORMATS:
        with suppress(ValueError):
            return datetime.strptime(text, pattern)  # noqa: DTZ007 -- its zone is not told
    return None


def guess_days(hint: Hint, came_at: datetime, zone: ZoneInfo) -> set[date]:
    """Return the source's days on which the call can be, as few as may be.

    The zone of its time is not told: the source's, UTC or the client's. So a time that is not long
    ago does not say more than the webhook's own coming does; one near midnight says less.
    """
    came = {(came_at - back).astimezone(zone).date() for back in (timedelta(), _DELAY)}
    started = hint.started_at
    if started is None:
        return came
    if started.tzinfo is not None:
        return {started.astimezone(zone).date()}
    days = {moment.astimezone(zone).date() for moment in _readings(started, zone)}
    days |= _neighbours(started)
    if abs(started.replace(tzinfo=zone) - came_at) < _FAR:
        days |= came
    return {day for day in days if day <= max(came)} or came


def _readings(started: datetime, zone: ZoneInfo) -> Iterable[datetime]:
    return started.replace(tzinfo=zone), started.replace(tzinfo=UTC)


def _neighbours(started: datetime) -> set[date]:
    since_midnight = started - datetime.combine(started.date(), time())
    if since_midnight < _NEAR_MIDNIGHT:
        return {started.date() - _DAY}
    return {started.date() + _DAY} if since_midnight > _DAY - _NEAR_MIDNIGHT else set()
