"""The last word of webhooks on each call: which of a call's payloads counts.

A status that is final counts more than one that can change, whatever the event is called; of two
alike the one that came last, and one that comes again has come last. Pure: the same comings give
the same words in any order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from callkeeper_assets.webhooks.events import OVER, PROCESSING, normalise_event
from callkeeper_assets.webhooks.inbox_rows import Row
from callkeeper_assets.webhooks.raw_call import RawCall, build_raw_call

# How much a payload says of the call's end; by its event alone where it names no status.
_CAN_CHANGE, _UNKNOWN, _FINAL = range(3)
_RANKS: Final = {OVER: _FINAL, PROCESSING: _CAN_CHANGE}


@dataclass(frozen=True)
class Told:
    """A payload that tells of a call."""

    row: Row
    call: RawCall

    @property
    def weight(self) -> tuple[int, datetime, int]:
        """Of several payloads of one call the greatest counts."""
        if self.call.is_final is None:
            rank = _RANKS.get(normalise_event(self.call.event), _UNKNOWN)  # type: ignore[call-overload]
        else:
            rank = _FINAL if self.call.is_final else _CAN_CHANGE
        return rank, self.row.came_at, self.row.id


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
