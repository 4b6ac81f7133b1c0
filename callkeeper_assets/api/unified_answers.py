"""Answers of the unified API: one page of calls or a failure, in both shapes that are known.

A bare list, or an object whose `payload` is the list and whose `info` may tell the total. An empty
list, `No rows found` and `Incorrect page is set` are the end of a list; every other failure is one.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from callkeeper_assets.api.bodies import (
    BOM,
    broken,
    find_failure,
    find_failure_of,
    is_empty_period,
    judge_beginning,
    judge_other,
    list_rows,
    part_garbled,
    unusable,
)
from callkeeper_assets.api.calls import KeyedCalls
from callkeeper_assets.api.redaction import MASK
from callkeeper_assets.api.splitting import split_records
from callkeeper_assets.api.troubles import Trouble, trouble_of_reason
from callkeeper_assets.api.unified_calls import key_unified_calls
from callkeeper_assets.raw.call_ids import read_call_id


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; without rows it is past the list's end.

    Attributes:
        calls: By id, and beside them what cannot be used.
        rows: How many there were, the same call twice counted twice.
        total: Of the whole list; None where the source does not tell.
    """

    calls: KeyedCalls
    rows: int
    total: int | None


_OF_CALL = re.compile(rb"serviceType|universalId")


class _Wrapped(msgspec.Struct):
    payload: list[msgspec.Raw] | dict[str, msgspec.Raw]
    inbound: Any = None
    info: Any = None


_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def build_mask(source: str) -> "re.Pattern[bytes]":
    """Return what finds the secret part of a source's webhook address in an answer."""
    name = re.escape(source.encode())
    # Host and path are typed apart in the cabinet: slashes come doubled.
    slash = rb"(?:\\?/|%2[Ff])+"
    return re.compile(rb"(webhooks" + slash + name + slash + rb")[^\"\\/?#]+")


def mask_token(body: bytes, mask: "re.Pattern[bytes]") -> bytes:
    """Take the token out of the addresses in `hooks`: nothing that is kept may hold it."""
    return mask.sub(rb"\1" + MASK.encode(), body)


def _read_rows(body: bytes) -> tuple[list[msgspec.Raw], int | None] | Trouble:
    """Return each call's JSON text, and the total.

    Raises:
        msgspec.DecodeError: It is no JSON.
        UnicodeDecodeError: It is no UTF-8, and not in its calls.
    """
    raws: list[msgspec.Raw] | None
    total = None
    try:
        if body.lstrip()[:1] == b"[":
            raws = _decode_list(body)
        else:
            wrapped = _decode_wrapped(body)
            reason = find_failure({"inbound": wrapped.inbound})
            if reason is not None:
                return ([], None) if is_empty_period(reason) else trouble_of_reason(reason)
            raws = list_rows(wrapped.payload)
            if isinstance(wrapped.info, dict):
                total = read_call_id(wrapped.info.get("totalLength"))
    except msgspec.ValidationError:
        raws = None
    if raws is None:
        return judge_other(body) or ([], None)
    if len(raws) == 1:
        reason = find_failure_of(raws[0])
        # A call has a `status`, too.
        if reason is not None and not _OF_CALL.search(raws[0]):
            return trouble_of_reason(reason)
    return raws, total


def read_page(body: bytes) -> Page | Trouble:
    """Read one page."""
    body = body.removeprefix(BOM)
    trouble = judge_beginning(body)
    if trouble is not None:
        return trouble
    try:
        found = _read_rows(body)
    except UnicodeDecodeError as error:
        return unusable(f"text that is not UTF-8, at byte {error.start}")
    except (msgspec.DecodeError, RecursionError) as error:
        records = split_records(body, b"payload")
        if records is None:
            return broken(body, str(error))
        found = records, None
    if isinstance(found, Trouble):
        return found
    raws, total = found
    whole, garbled = part_garbled(body, raws)
    return Page(key_unified_calls(whole).with_unusable(garbled), len(raws), total)
