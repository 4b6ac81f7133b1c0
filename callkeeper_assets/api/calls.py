"""The id and the time of each call, read from its JSON text without reading the rest.

Numbers come as numbers or as strings; `date_timestamp` is the time, `date` (UTC) stands in for it.
This is the client's inner loop: about a microsecond a call.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

_LARGEST_ID: Final = 2**63 - 1
_MOST_DIGITS: Final = 19
_LATEST_EPOCH: Final = 253_402_300_799  # the end of year 9999

# Call id -> (epoch seconds, the call's JSON text).
KeyedCalls: TypeAlias = dict[int, tuple[int, msgspec.Raw]]


class UnusableCallError(ValueError):
    """A call without a usable id or time; the text says which."""


class _Key(msgspec.Struct, gc=False):
    id: Any = None
    date_timestamp: Any = None
    date: Any = None


_decode_key = msgspec.json.Decoder(_Key).decode


def _integer(value: object) -> int | None:
    """Read a whole number given as number or as a string of digits."""
    if type(value) is float:
        return int(value) if value.is_integer() else None
    if type(value) is int:
        return value
    if isinstance(value, str):
        digits = value.strip()
        if digits.isdecimal() and len(digits) <= _MOST_DIGITS:
            return int(digits)
    return None


def read_call_id(value: object) -> int | None:
    """Return a call's id, given as a number or as a string of digits; None if it is none."""
    number = _integer(value) if type(value) is not float else None
    return number if number is not None and 0 <= number <= _LARGEST_ID else None


def _call_id(value: object, position: int) -> int:
    number = read_call_id(value)
    if number is None:
        raise UnusableCallError(f"record {position} has no integer id but {_shown(value)}")
    return number


def _shown(value: object) -> str:
    # Never the content of an object: a call holds names, addresses and phone numbers.
    simple = value is None or isinstance(value, str | int | float)
    return repr(value)[:60] if simple else f"a {type(value).__name__}"


def _epoch(key: _Key, call_id: int) -> int:
    stamp = key.date_timestamp
    epoch = int(stamp) if type(stamp) is float and abs(stamp) < _LATEST_EPOCH else _integer(stamp)
    if epoch is not None and 0 < epoch <= _LATEST_EPOCH:
        return epoch
    if isinstance(key.date, str):
        try:
            moment = datetime.fromisoformat(key.date.strip())
        except ValueError:
            pass
        else:
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    shown = f"date_timestamp {_shown(stamp)}, date {_shown(key.date)}"
    raise UnusableCallError(f"call {call_id} has no usable time ({shown})")


def key_calls(raws: Iterable[msgspec.Raw]) -> KeyedCalls:
    """Return the calls by id; of two with one id the last one wins.

    Raises:
        UnusableCallError: A record is no object, or has no integer id or no time.
    """
    calls: KeyedCalls = {}
    for position, raw in enumerate(raws, start=1):
        try:
            key = _decode_key(raw)
        except msgspec.ValidationError:
            key = _Key()
        call_id, epoch = key.id, key.date_timestamp
        # The two common forms are read here: a function call for each would double the loop's time.
        if type(call_id) is str and call_id.isdecimal() and len(call_id) <= _MOST_DIGITS:
            call_id = int(call_id)
        if type(call_id) is not int or not 0 <= call_id <= _LARGEST_ID:
            call_id = _call_id(call_id, position)
        if type(epoch) is str and epoch.isdecimal() and len(epoch) <= _MOST_DIGITS:
            epoch = int(epoch)
        if type(epoch) is not int or not 0 < epoch <= _LATEST_EPOCH:
            epoch = _epoch(key, call_id)
        calls[call_id] = (epoch, raw)
    return calls
