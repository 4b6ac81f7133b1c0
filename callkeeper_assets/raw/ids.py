"""The id of a call, made of its JSON text: the one under which raw calls and tables hold it.

The statistics API's calls have CallKeeper's own. Of the unified API's a callback has that too; call
tracking counts anew: its ids are moved to where no callback's is, and end in the own id. Any other
has its universal id alone, too long for a JavaScript number: its id is a hash.
"""

import json
from hashlib import blake2b
from typing import Any, Final

import msgspec

_CALLTRACKING_IDS: Final = 4_000_000_000_000_000
# From here on an id is a hash.
HASHED_IDS: Final = 5_000_000_000_000_000
# As many as there are up to JavaScript's largest whole number.
_HASHES: Final = 2**53 - 1 - HASHED_IDS
# The first reading made ids of the last digits of a universal id.
_FORMER_IDS: Final = 8_000_000_000_000_000
_FORMERLY_KEPT: Final = 1_000_000_000_000_000
# What a service's column of the call may hold: beyond lie the others' ids.
_OWN_CALLBACKS: Final = _CALLTRACKING_IDS
_OWN_CALLTRACKING: Final = HASHED_IDS - _CALLTRACKING_IDS
LARGEST_ID: Final = 2**63 - 1
_MOST_ID_DIGITS: Final = 19
_MOST_UNIVERSAL_DIGITS: Final = 40


class UnifiedKey(msgspec.Struct, gc=False):
    """What identifies a call of the unified API."""

    serviceType: Any = None  # noqa: N815 - the API's name
    cbCallId: Any = None  # noqa: N815
    ctCallId: Any = None  # noqa: N815
    universalId: Any = None  # noqa: N815
    callTime: Any = None  # noqa: N815


def read_integer(value: object) -> int | None:
    """Read a whole number given as number or as a string of digits."""
    if type(value) is float:
        return int(value) if value.is_integer() else None
    if type(value) is int:
        return value
    if isinstance(value, str):
        digits = value.strip()
        if digits.isdecimal() and len(digits) <= _MOST_ID_DIGITS:
            return int(digits)
    return None


def read_call_id(value: object) -> int | None:
    """Return a call's id, given as a number or as a string of digits; None if it is none."""
    number = read_integer(value) if type(value) is not float else None
    return number if number is not None and 0 <= number <= LARGEST_ID else None


def _refuse(word: str) -> None:
    # NaN and its like are Python's, not JSON's: DuckDB would refuse the call.
    raise ValueError(word)


def read_fields(record: msgspec.Raw, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return fields of a record that msgspec cannot read; None if it is no object, or no JSON."""
    try:
        document = json.loads(bytes(record), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return {name: document.get(name) for name in names}


def read_unified_key(raw: msgspec.Raw) -> UnifiedKey | None:
    """Return the key of a call of the unified API, however its text is; None if it is no object."""
    fields = read_fields(raw, UnifiedKey.__struct_fields__)
    return None if fields is None else UnifiedKey(**fields)


def _own_id(value: object, limit: int) -> int | None:
    """Return a service's id; a 0 and an empty text are none."""
    number = read_call_id(value)
    return number if number and number < limit else None


def find_service_id(key: UnifiedKey) -> int | None:
    """Return the id that the call's service gave it; None if it gave none."""
    if key.serviceType == "callback":
        return _own_id(key.cbCallId, _OWN_CALLBACKS)
    if key.serviceType == "calltracking":
        own = _own_id(key.ctCallId, _OWN_CALLTRACKING)
        return own and own + _CALLTRACKING_IDS
    return None


def identify_call(payload: bytes) -> int | None:
    """Return the id of a call of the unified API from its JSON text; None if it has none."""
    key = read_unified_key(msgspec.Raw(payload))
    if key is None:
        return None
    universal_id = read_universal_id(key.universalId)
    return find_service_id(key) or (hash_universal_id(universal_id) if universal_id else None)


def identify_call_of_first_reading(payload: bytes) -> int | None:
    """Return the id that an imported call had by the first reading: not its alone."""
    key = read_unified_key(msgspec.Raw(payload))
    universal_id = read_universal_id(key.universalId) if key else ""
    return _FORMER_IDS + int(universal_id) % _FORMERLY_KEPT if universal_id else None


def read_universal_id(value: object) -> str:
    """Return a universal id, the same for a number and for its digits; empty if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    digits = str(value).strip().lstrip("0")
    is_one = digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_UNIVERSAL_DIGITS
    return digits if is_one else ""


def hash_universal_id(universal_id: str) -> int:
    """Return the id of a call that has its universal id alone."""
    digest = blake2b(universal_id.encode(), digest_size=16).digest()
    return HASHED_IDS + int.from_bytes(digest) % _HASHES
