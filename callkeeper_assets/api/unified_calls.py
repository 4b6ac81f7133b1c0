"""The id and the time of each call of the unified API, read from its JSON text.

A callback's id is CallKeeper's own, the one that the statistics API gives. Calls of other services
have ids of their own that begin anew: they are moved to where no callback's id is, so that a person
still reads the service's own id in the last digits, and a JavaScript number still holds it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from callkeeper_assets.api.calls import KeyedCalls, UnusableCallError, read_call_id

# At and above it are ids that are no service's own.
DERIVED_IDS: Final = 5_000_000_000_000_000
CALLTRACKING_IDS: Final = 4_000_000_000_000_000
OTHER_IDS: Final = 8_000_000_000_000_000
# Of a universal id, which has 17 digits and more, so many are kept: JavaScript's largest is 9e15.
_KEPT: Final = 1_000_000_000_000_000
_LATEST_EPOCH: Final = 253_402_300_799  # the end of year 9999
# What a service's column of the call may hold: beyond lie the others' ids.
_OWN_IDS: Final = CALLTRACKING_IDS


class _Key(msgspec.Struct, gc=False):
    serviceType: Any = None  # noqa: N815 - the API's name
    cbCallId: Any = None  # noqa: N815
    ctCallId: Any = None  # noqa: N815
    universalId: Any = None  # noqa: N815
    callTime: Any = None  # noqa: N815


_decode_key = msgspec.json.Decoder(_Key).decode


def _own_id(value: object) -> int | None:
    """Return a service's id; a 0 and an empty text are none."""
    number = read_call_id(value)
    return number if number and number < _OWN_IDS else None


def _call_id(key: _Key, position: int) -> int:
    own = None
    if key.serviceType == "callback":
        own = _own_id(key.cbCallId)
    elif key.serviceType == "calltracking":
        own = _own_id(key.ctCallId)
        own = own and own + CALLTRACKING_IDS
    if own is not None:
        return own
    universal = read_call_id(key.universalId)
    if not universal:
        raise UnusableCallError(f"record {position} has no id: neither its service's nor universal")
    return OTHER_IDS + universal % _KEPT


def identify_call(payload: bytes) -> int | None:
    """Return the id of a call of the unified API from its JSON text; None if it tells none."""
    try:
        return _call_id(_decode_key(payload), 1)
    except (UnusableCallError, msgspec.DecodeError):
        return None


def identify_call_of_first_reading(payload: bytes) -> int | None:
    """Return the id that an imported call had by the first reading: not its alone."""
    try:
        universal = read_call_id(_decode_key(payload).universalId)
    except msgspec.DecodeError:
        return None
    return None if universal is None else OTHER_IDS + universal % _KEPT


def _epoch(value: object, position: int) -> int:
    """Read `callTime`: UTC unless it says otherwise."""
    number = read_call_id(value)
    if number is not None:
        if 0 < number <= _LATEST_EPOCH:
            return number
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    shown = repr(value)[:40] if value is None or isinstance(value, str | int | float) else "no text"
    raise UnusableCallError(f"record {position} has no usable time (callTime {shown})")


def key_unified_calls(raws: Iterable[msgspec.Raw]) -> KeyedCalls:
    """Return the calls by id; of two with one id the last one wins.

    Raises:
        UnusableCallError: A record is no object, or has no id or no time.
    """
    calls: KeyedCalls = {}
    for position, raw in enumerate(raws, start=1):
        try:
            key = _decode_key(raw)
        except msgspec.ValidationError:
            key = _Key()
        calls[_call_id(key, position)] = (_epoch(key.callTime, position), raw)
    return calls
