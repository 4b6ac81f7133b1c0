"""The id and the time of each call of the unified API, read from its JSON text.

Ids are made in `raw.call_ids`. A call's time is `callTime`; of one without it `localDate` less the
client's offset tells the day, then `cbOrderDate`.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from callkeeper_assets.api.calls import (
    LATEST_EPOCH,
    KeyedCalls,
    describe_record,
    describe_value,
    read_moment,
)
from callkeeper_assets.raw.call_ids import (
    UnifiedKey,
    find_service_id,
    hash_universal_id,
    read_call_id,
    read_fields,
    read_unified_key,
    read_universal_id,
)

_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)")
_QUARTER_MIN: Final = 15
_OFFSETS_MIN: Final = range(-12 * 60, 14 * 60 + 1)


class _Times(msgspec.Struct, gc=False):
    """What else tells the time of a call without `callTime`."""

    localDate: Any = None  # noqa: N815
    timezoneOffset: Any = None  # noqa: N815
    cbOrderDate: Any = None  # noqa: N815


_decode_key = msgspec.json.Decoder(UnifiedKey).decode
_decode_times = msgspec.json.Decoder(_Times).decode


def _read_call_time(value: object) -> int | None:
    """Read `callTime`: UTC unless it says otherwise; epoch seconds have been seen elsewhere."""
    if type(value) is str:
        epoch = read_moment(value)
        if epoch is not None:
            return epoch
    number = read_call_id(value)
    return number if number is not None and 0 < number <= LATEST_EPOCH else None


def read_offset(value: object) -> int | None:
    """Return the seconds of a `timezoneOffset`; None where no clock has such a one.

    `+0020` has been seen for `+0200`. Which was meant cannot be told for every one, so it is none.
    """
    found = _OFFSET.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    offset = int(f"{sign}1") * (int(hours) * 60 + int(minutes))
    is_believable = int(minutes) < 60 and offset % _QUARTER_MIN == 0 and offset in _OFFSETS_MIN  # noqa: PLR2004
    return offset * 60 if is_believable else None


def read_local_date(local_date: object, timezone_offset: object) -> int | None:
    """Return the epoch seconds of `localDate` less a believable offset."""
    offset = read_offset(timezone_offset)
    return None if offset is None else read_moment(local_date, offset)


def _read_times(raw: msgspec.Raw) -> _Times:
    try:
        return _decode_times(raw)
    except (ValueError, RecursionError):
        return _Times(**(read_fields(raw, _Times.__struct_fields__) or {}))


def _key_oddly(calls: KeyedCalls, raw: msgspec.Raw, key: UnifiedKey | None) -> None:
    """Put a call whose id or time is not where most have it, or set it aside."""
    key = key or read_unified_key(raw)
    if key is None:
        calls.set_aside(raw, describe_record(raw))
        return
    call_id, universal_id = find_service_id(key), ""
    if call_id is None:
        universal_id = read_universal_id(key.universalId)
        if not universal_id:
            shown = describe_value(key.universalId)
            calls.set_aside(raw, f"it has no id: none of its service's, universalId is {shown}")
            return
        call_id = hash_universal_id(universal_id)
    epoch = _read_call_time(key.callTime)
    if epoch is None:
        times = _read_times(raw)
        epoch = read_local_date(times.localDate, times.timezoneOffset)
        if epoch is None:
            epoch = read_moment(times.cbOrderDate)
        if epoch is None:
            calls.set_aside(raw, _explain_time(key, times), call_id)
            return
        calls.derived[call_id] = raw
    if universal_id:
        calls.put_hashed(call_id, universal_id, (epoch, raw))
    else:
        calls[call_id] = (epoch, raw)


def _explain_time(key: UnifiedKey, times: _Times) -> str:
    local = describe_value(times.localDate)
    if read_moment(times.localDate) is not None:
        local = f"without a believable timezoneOffset ({describe_value(times.timezoneOffset)})"
    return (
        f"it has no time: callTime is {describe_value(key.callTime)}, localDate is {local}, "
        f"cbOrderDate is {describe_value(times.cbOrderDate)}"
    )


def key_unified_calls(raws: Iterable[msgspec.Raw]) -> KeyedCalls:
    """Return the calls by id, and what has no usable id or time; of two with one id the last wins.

    Whatever a record is, it raises nothing.
    """
    calls = KeyedCalls()
    for raw in raws:
        try:
            key = _decode_key(raw)
        except (ValueError, RecursionError):
            _key_oddly(calls, raw, None)
            continue
        call_id, epoch = find_service_id(key), read_moment(key.callTime)
        if call_id is None or epoch is None:
            _key_oddly(calls, raw, key)
        else:
            calls[call_id] = (epoch, raw)
    return calls
