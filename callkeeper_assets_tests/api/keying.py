"""Payloads keyed by the code that reads an answer, whichever API they are of."""

from collections.abc import Iterable

import msgspec

from callkeeper_assets.api.calls import KeyedCalls, key_calls
from callkeeper_assets.api.names import ApiName
from callkeeper_assets.api.unified_calls import key_unified_calls


def key_payloads(api: ApiName, payloads: Iterable[bytes]) -> KeyedCalls:
    """Return a stored day's calls by id, and what cannot be used; whatever one is, none raises."""
    raws = map(msgspec.Raw, payloads)
    return key_unified_calls(raws) if api == "ckct" else key_calls(raws)
