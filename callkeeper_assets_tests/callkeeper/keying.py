"""Payloads keyed by the code that reads an answer, whichever API they are of."""

from collections.abc import Iterable

import msgspec

from callkeeper_assets.callkeeper.keys import KeyedCalls, key_calls, key_unified_calls
from callkeeper_assets.callkeeper.records import ApiName


def key_payloads(api: ApiName, payloads: Iterable[bytes]) -> KeyedCalls:
    """Return a stored day's calls by id, and what cannot be used; whatever one is, none raises."""
    raws = map(msgspec.Raw, payloads)
    return key_unified_calls(raws) if api == "ckct" else key_calls(raws)
