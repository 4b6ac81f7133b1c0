"""The last word of webhooks on each call: which of a call's payloads counts.

A call's end counts more than its beginning, whichever came last; of two alike the newer one. Pure:
the same payloads give the same words in any order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from callkeeper_assets.webhooks.inbox_rows import Row
from callkeeper_assets.webhooks.raw_call import RawCall, build_raw_call

_OVER: Final = "call is over"
_PROCESSING: Final = "call is processing"


@dataclass(frozen=True)
class Told:
    """A payload that tells of a call."""

    row: Row
    call: RawCall

    @property
    def weight(self) -> tuple[int, datetime, int]:
        """Of several payloads of one call the greatest counts: by event, then the newest."""
        event = self.call.event.strip().lower() if self.call.event else ""
        rank = 2 if event == _OVER else 0 if event == _PROCESSING else 1
        return rank, self.row.received_at, self.row.id


def read_told(row: Row, fields: Mapping[str, str]) -> Told:
    """Read a stored payload.

    Args:
        row: the payload.
        fields: By path in a raw call, the name under which the account sends the value.

    Raises:
        UnusablePayloadError: It can be no call.
    """
    return Told(row, build_raw_call(row.format, row.body, fields))


def group_by_call(told: Iterable[Told]) -> dict[int, list[Told]]:
    """Group payloads by call id; the last word on the call comes first."""
    by_call: dict[int, list[Told]] = {}
    for one in told:
        by_call.setdefault(one.call.call_id, []).append(one)
    for group in by_call.values():
        group.sort(key=lambda one: one.weight, reverse=True)
    return by_call
