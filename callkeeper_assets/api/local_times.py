"""Whether a day's calls were at the time that their clients' clocks showed.

The unified API says nowhere that `callTime` is UTC. Where a client's own time comes along with a
believable offset, it tells. A few calls of a day are looked at: what is true of an account's clock
is true of all of them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from callkeeper_assets.api.unified_calls import read_local_date
from callkeeper_assets.raw.days import LocalTimes

# Of a day, spread over it: some 2 µs each.
_MOST_COMPARED: Final = 200
# A call is noted when it begins here and when it is ordered there.
_TOLERANCE_SEC: Final = 90
_ROUNDED_TO_SEC: Final = 60


class _Local(msgspec.Struct, gc=False):
    callTime: Any = None  # noqa: N815 - the API's name
    localDate: Any = None  # noqa: N815
    timezoneOffset: Any = None  # noqa: N815


_decode = msgspec.json.Decoder(_Local).decode


def compare_local_times(epochs: Sequence[int], payloads: Sequence[bytes]) -> LocalTimes | None:
    """Compare calls of the unified API, two parallel lists; None if nothing can be compared."""
    differences = []
    step = max(1, -(-len(payloads) // _MOST_COMPARED))
    for epoch, payload in zip(epochs[::step], payloads[::step], strict=True):
        try:
            call = _decode(payload)
        except (ValueError, RecursionError):
            continue
        local = read_local_date(call.localDate, call.timezoneOffset)
        # Without a callTime the call's time was taken from the very clock.
        if local is not None and call.callTime:
            differences.append(epoch - local)
    if not differences:
        return None
    differing = Counter(
        round(one / _ROUNDED_TO_SEC) * _ROUNDED_TO_SEC
        for one in differences
        if abs(one) > _TOLERANCE_SEC
    )
    [(difference, _)] = differing.most_common(1) or [(0, 0)]
    return LocalTimes(
        compared=len(differences), differing=differing.total(), difference_sec=difference
    )
