"""Records that are no calls, in a share of an account's: in every way that was met, by call.

Which calls it strikes, and how, follows from their ids alone: an answer asked for again, or for a
part of its window, has the same ones.
"""

import json
from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

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
