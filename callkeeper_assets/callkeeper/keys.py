"""The id and the moment of each call of an answer, read without reading the rest of the call.

One reader for each API. A record without a usable id or time is no call: it is kept aside, with the
reason. An answer that msgspec cannot read as a whole is taken apart record by record.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import msgspec

from callkeeper_assets.raw.ids import (
    LARGEST_ID,
    UnifiedKey,
    find_service_id,
    hash_universal_id,
    read_call_id,
    read_fields,
    read_integer,
    read_unified_key,
    read_universal_id,
)

_MOST_DIGITS: Final = 19
# The end of 2199, as the tables' moments (`plausible` in macros.sql): a date of the year 9999 is as
# good as none, and none in another time zone.
LATEST_EPOCH: Final = 7_258_118_399
# What a record is that is no object, by its first character.
_FORMS: Final = {b'"': "a text", b"[": "a list", b"n": "null", b"t": "true", b"f": "false"}
COLLISION: Final = "the id made of its universalId is that of another call"
ELSEWHERE: Final = (
    "it has no callTime, and what stands in for it (localDate, cbOrderDate) lies outside what was "
    "asked for"
)
ORDERED_HERE: Final = (
    "the source gives it to the day on which it was ordered, and does not have it at its own time"
)
# Reasons of what is a call, though of no day that could hold it.
OF_NO_DAY: Final = frozenset({ELSEWHERE, ORDERED_HERE})

_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)")
_QUARTER_MIN: Final = 15
_OFFSETS_MIN: Final = range(-12 * 60, 14 * 60 + 1)

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_CLOSING: Final = {b"[": b"]", b"{": b"}"}


@dataclass(frozen=True, slots=True)
class UnusableRecord:
    """What came in a call's place and cannot be used as one.

    Attributes:
        payload: The record's JSON text (UTF-8), as received.
        reason: What is wrong with it, as words that hold no value of it.
        call_id: The call's id, where that much can be read.
    """

    payload: bytes
    reason: str
    call_id: int | None = None


class KeyedCalls(dict[int, tuple[int, msgspec.Raw]]):
    """Calls by id, each with its epoch seconds and its JSON text; beside them what is not one.

    Attributes:
        unusable: By their text: the same record in two overlapping answers is one.
        derived: Calls without a time of their own, which is found from other fields, by id.
        universal_ids: By ids that were made by hashing, what they were made of.
    """

    def __init__(self, calls: dict[int, tuple[int, msgspec.Raw]] | None = None) -> None:
        super().__init__(calls or {})
        self.unusable: dict[bytes, UnusableRecord] = {}
        self.derived: dict[int, msgspec.Raw] = {}
        self.universal_ids: dict[int, str] = {}

    def set_aside(self, raw: msgspec.Raw, reason: str, call_id: int | None = None) -> None:
        """Note a record that cannot be used."""
        payload = bytes(raw)
        self.unusable[payload] = UnusableRecord(payload, reason, call_id)

    def with_unusable(self, records: Iterable[UnusableRecord]) -> Self:
        """Note more records that cannot be used."""
        self.unusable.update((one.payload, one) for one in records)
        return self

    def list_records(self) -> set[int | bytes]:
        """Return what distinguishes one answer from another: ids, else the texts."""
        return {*self, *self.unusable}

    def put_hashed(self, call_id: int, universal_id: str, call: tuple[int, msgspec.Raw]) -> None:
        """Put a call whose id was made by hashing; of two that collide the lesser one keeps it.

        Which of them came first must not decide: a day that is read again would become another.
        """
        held = self.universal_ids.get(call_id, universal_id)
        if (len(held), held) < (len(universal_id), universal_id):
            self.set_aside(call[1], COLLISION)
            return
        if held != universal_id:
            self.set_aside(self[call_id][1], COLLISION)
        self.universal_ids[call_id] = universal_id
        self[call_id] = call

    def add(self, other: "KeyedCalls") -> None:
        """Add another answer's calls; of a call in both the other's record counts."""
        hashed = other.universal_ids
        self.derived |= other.derived
        self.unusable |= other.unusable
        self.update({key: other[key] for key in other.keys() - hashed} if hashed else other)
        for call_id, universal_id in hashed.items():
            self.put_hashed(call_id, universal_id, other[call_id])

    def take_out(self, call_id: int) -> msgspec.Raw:
        """Remove a call, and return its JSON text."""
        self.universal_ids.pop(call_id, None)
        return self.pop(call_id)[1]

    def set_derived_aside(self, start: int, end: int) -> None:
        """Set calls aside whose derived time lies outside what was asked for.

        The source counts them there by a time that it does not send. The day cannot hold them under
        a time of another one, and dropped they would vanish without a word.
        """
        for call_id, raw in self.derived.items():
            epoch, held = self.get(call_id, (start, None))
            # Another record of the same call, with a time of its own, may have taken its place.
            if held is raw and not start <= epoch < end:
                self.set_aside(self.take_out(call_id), ELSEWHERE, call_id)


class _Key(msgspec.Struct, gc=False):
    id: Any = None
    date_timestamp: Any = None
    date: Any = None


_decode_key = msgspec.json.Decoder(_Key).decode


def read_moment(value: object, offset_sec: int = 0) -> int | None:
    """Return a moment's epoch seconds, None if it has none.

    Args:
        value: As received.
        offset_sec: From UTC, of a moment that has none written behind it.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo:
        offset_sec = 0
    else:
        moment = moment.replace(tzinfo=UTC)
    epoch = int(moment.timestamp()) - offset_sec
    return epoch if 0 < epoch <= LATEST_EPOCH else None


def describe_value(value: object) -> str:
    """Say what a value is that cannot be used.

    Never the value itself: where a name is mistaken it can be a phone number, and a call holds
    names and addresses.
    """
    if value is None:
        return "missing or null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float):
        return "a number with a point"
    if isinstance(value, int):
        return "negative" if value < 0 else "0" if value == 0 else "too large"
    if isinstance(value, str):
        text = value.strip()
        return "zeros" if text.startswith("0000-00-00") else "unreadable" if text else "empty"
    return "a list" if isinstance(value, list) else "an object"


def describe_record(raw: msgspec.Raw) -> str:
    """Say why a record cannot be read at all."""
    beginning = bytes(raw)[:1]
    if beginning == b"{":
        return "it is no JSON"
    return f"it is no object but {_FORMS.get(beginning, 'a number')}"


def _read_epoch(key: _Key) -> int | None:
    stamp = key.date_timestamp
    epoch = (
        int(stamp) if type(stamp) is float and abs(stamp) < LATEST_EPOCH else read_integer(stamp)
    )
    return epoch if epoch is not None and 0 < epoch <= LATEST_EPOCH else read_moment(key.date)


def _key_oddly(calls: KeyedCalls, raw: msgspec.Raw, key: _Key | None) -> None:
    """Put a call whose id or time is not in one of the common forms, or set it aside."""
    if key is None:
        fields = read_fields(raw, _Key.__struct_fields__)
        if fields is None:
            calls.set_aside(raw, describe_record(raw))
            return
        key = _Key(**fields)
    call_id, epoch = read_call_id(key.id), _read_epoch(key)
    if call_id is None:
        calls.set_aside(raw, f"it has no id: id is {describe_value(key.id)}")
    elif epoch is None:
        stamp, moment = describe_value(key.date_timestamp), describe_value(key.date)
        reason = f"it has no time: date_timestamp is {stamp}, date is {moment}"
        calls.set_aside(raw, reason, call_id)
    else:
        calls[call_id] = (epoch, raw)


def key_calls(raws: Iterable[msgspec.Raw]) -> KeyedCalls:
    """Return the calls by id, and what has no usable id or time; of two with one id the last wins.

    Whatever a record is, it raises nothing.
    """
    calls = KeyedCalls()
    for raw in raws:
        try:
            key = _decode_key(raw)
        except (ValueError, RecursionError):
            _key_oddly(calls, raw, None)
            continue
        call_id, epoch = key.id, key.date_timestamp
        # The two common forms are read here: a function call for each would double the loop's time.
        if type(call_id) is str and call_id.isdecimal() and len(call_id) <= _MOST_DIGITS:
            call_id = int(call_id)
        if type(epoch) is str and epoch.isdecimal() and len(epoch) <= _MOST_DIGITS:
            epoch = int(epoch)
        if (
            type(call_id) is int
            and 0 <= call_id <= LARGEST_ID
            and type(epoch) is int
            and 0 < epoch <= LATEST_EPOCH
        ):
            calls[call_id] = (epoch, raw)
        else:
            _key_oddly(calls, raw, key)
    return calls


class _Times(msgspec.Struct, gc=False):
    """The other fields that give the time of a call without `callTime`."""

    localDate: Any = None  # noqa: N815
    timezoneOffset: Any = None  # noqa: N815
    cbOrderDate: Any = None  # noqa: N815


_decode_unified_key = msgspec.json.Decoder(UnifiedKey).decode
_decode_times = msgspec.json.Decoder(_Times).decode


def _read_call_time(value: object) -> int | None:
    """Read `callTime`: UTC unless it says otherwise; epoch seconds have been seen elsewhere."""
    if type(value) is str:
        epoch = read_moment(value)
        if epoch is not None:
            return epoch
    number = read_call_id(value)
    return number if number is not None and 0 < number <= LATEST_EPOCH else None


def read_offset(value: object) -> int | None:
    """Return the seconds of a `timezoneOffset`; None where no clock has such a one.

    `+0020` has been seen for `+0200`. Which was meant cannot be known for each such offset, so it
    counts as none.
    """
    found = _OFFSET.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    offset = int(f"{sign}1") * (int(hours) * 60 + int(minutes))
    is_believable = int(minutes) < 60 and offset % _QUARTER_MIN == 0 and offset in _OFFSETS_MIN  # noqa: PLR2004
    return offset * 60 if is_believable else None


def read_local_date(local_date: object, timezone_offset: object) -> int | None:
    """Return the epoch seconds of `localDate` less a believable offset."""
    offset = read_offset(timezone_offset)
    return None if offset is None else read_moment(local_date, offset)


def _read_times(raw: msgspec.Raw) -> _Times:
    try:
        return _decode_times(raw)
    except (ValueError, RecursionError):
        return _Times(**(read_fields(raw, _Times.__struct_fields__) or {}))


def _key_unified_oddly(calls: KeyedCalls, raw: msgspec.Raw, key: UnifiedKey | None) -> None:
    """Put a call whose id or time is not where most have it, or set it aside."""
    key = key or read_unified_key(raw)
    if key is None:
        calls.set_aside(raw, describe_record(raw))
        return
    call_id, universal_id = find_service_id(key), ""
    if call_id is None:
        universal_id = read_universal_id(key.universalId)
        if not universal_id:
            shown = describe_value(key.universalId)
            calls.set_aside(raw, f"it has no id: none of its service's, universalId is {shown}")
            return
        call_id = hash_universal_id(universal_id)
    epoch = _read_call_time(key.callTime)
    if epoch is None:
        times = _read_times(raw)
        epoch = read_local_date(times.localDate, times.timezoneOffset)
        if epoch is None:
            epoch = read_moment(times.cbOrderDate)
        if epoch is None:
            calls.set_aside(raw, _explain_time(key, times), call_id)
            return
        calls.derived[call_id] = raw
    if universal_id:
        calls.put_hashed(call_id, universal_id, (epoch, raw))
    else:
        calls[call_id] = (epoch, raw)


def _explain_time(key: UnifiedKey, times: _Times) -> str:
    local = describe_value(times.localDate)
    if read_moment(times.localDate) is not None:
        local = f"without a believable timezoneOffset ({describe_value(times.timezoneOffset)})"
    return (
        f"it has no time: callTime is {describe_value(key.callTime)}, localDate is {local}, "
        f"cbOrderDate is {describe_value(times.cbOrderDate)}"
    )


def key_unified_calls(raws: Iterable[msgspec.Raw]) -> KeyedCalls:
    """Return the calls by id, and what has no usable id or time; of two with one id the last wins.

    Whatever a record is, it raises nothing.
    """
    calls = KeyedCalls()
    for raw in raws:
        try:
            key = _decode_unified_key(raw)
        except (ValueError, RecursionError):
            _key_unified_oddly(calls, raw, None)
            continue
        call_id, epoch = find_service_id(key), read_moment(key.callTime)
        if call_id is None or epoch is None:
            _key_unified_oddly(calls, raw, key)
        else:
            calls[call_id] = (epoch, raw)
    return calls


class _CutError(ValueError):
    """Brackets that do not match, or are not closed."""


def _walk(body: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield each bracket, comma and text: how deep it stands, itself, and where.

    Raises:
        _CutError: They do not match.
    """
    closing: list[bytes] = []
    end = 0
    for found in _TOKEN.finditer(body):
        token, end = found[0], found.end()
        if token in _CLOSING:
            yield len(closing), token, found.start()
            closing.append(_CLOSING[token])
        elif token in b"]}":
            if not closing or closing.pop() != token:
                raise _CutError
            yield len(closing), token, found.start()
        else:
            yield len(closing), token, found.start()
    if closing or body[end:].strip():
        raise _CutError


def split_records(body: bytes, name: bytes) -> list[msgspec.Raw] | None:
    """Return the JSON text of each record; None if there is no whole list of them.

    Args:
        body: The list, or an object that has it.
        name: Of the list in such an object.
    """
    depth = 0 if body.lstrip()[:1] == b"[" else 1
    records: list[msgspec.Raw] = []
    start, last = -1, name if depth == 0 else b""
    try:
        for level, token, place in _walk(body):
            if start < 0 and level == depth:
                if token == b"[" and last == name and not records:
                    start = place + 1
                elif token.startswith(b'"'):
                    last = token[1:-1]
            elif start > 0 and (
                (level == depth + 1 and token == b",") or (level == depth and token == b"]")
            ):
                records.append(msgspec.Raw(body[start:place].strip()))
                start = place + 1 if token == b"," else -1
    except _CutError:
        return None
    return records or None
