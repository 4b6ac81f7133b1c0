"""The API's answer to one flat Arrow table, by hand: typed columns, one row a call.

msgspec decodes straight into slotted records and turns `"0"` into a number on the way; of what was
tried, the fastest way from this JSON to Arrow in Python (`pyarrow.json` refuses a column that is a
number here and a string there).
"""

# mypy: disable-error-code="import-not-found"

from typing import Final

import msgspec
import pyarrow as pa

Number = int | str | None


class _Marks(msgspec.Struct, frozen=True, gc=False):
    typ: str | None = None
    src: str | None = None
    mdm: str | None = None
    cmp: str | None = None
    cnt: str | None = None
    trm: str | None = None


class _Added(msgspec.Struct, frozen=True, gc=False):
    fd: str | None = None
    ep: str | None = None
    rf: str | None = None


class _Session(msgspec.Struct, frozen=True, gc=False):
    pgs: int | None = None
    cpg: str | None = None


class _Visitor(msgspec.Struct, frozen=True, gc=False):
    vst: int | None = None
    uag: str | None = None
    uip: str | None = None


class _Visit(msgspec.Struct, frozen=True, gc=False):
    current: _Marks = _Marks()
    current_add: _Added = _Added()
    first: _Marks = _Marks()
    first_add: _Added = _Added()
    session: _Session = _Session()
    udata: _Visitor = _Visitor()


_NO_VISIT: Final = _Visit()


class _Call(msgspec.Struct, frozen=True, gc=False):
    id: int
    date: str
    date_timestamp: int
    order_date: str
    status_code: int
    status2_code: int
    duration_sec: int
    duration_min: int
    duration2_sec: int
    duration2_min: int
    attempt: int
    a_type: int
    playback_tick: Number = None
    asr_attempts: Number = None
    status_reason: str | None = None
    status2_reason: str | None = None
    ip: str | None = None
    country: str | None = None
    city: str | None = None
    region: str | None = None
    district: str | None = None
    site: str | None = None
    ga_clientid: str | None = None
    ga_clid: str | None = None
    ya_clientid: str | None = None
    roistat_visit: str | None = None
    phone1: str | None = None
    phone2: str | None = None
    widget_hash: str | None = None
    widget_name: str | None = None
    record_url: str | None = None
    tags: str | None = None
    event_source: str | None = None
    visit_info: _Visit | str | None = None


class _Answer(msgspec.Struct):
    result: list[_Call]


# strict=False: numbers that come as strings are numbers.
_DECODER: Final = msgspec.json.Decoder(_Answer, strict=False)
_NUMBERS: Final = (
    "id",
    "date_timestamp",
    "status_code",
    "status2_code",
    "duration_sec",
    "duration_min",
    "duration2_sec",
    "duration2_min",
    "attempt",
    "a_type",
)
_BLANK_NUMBERS: Final = ("playback_tick", "asr_attempts")
_BLANKS: Final = ("", " ")
_PART_NUMBERS: Final = ("pgs", "vst")
_TIMES: Final = ("date", "order_date")
_TEXTS: Final = tuple(
    name
    for name in _Call.__struct_fields__
    if name not in {*_NUMBERS, *_BLANK_NUMBERS, *_TIMES, "visit_info"}
)
_PARTS: Final = (
    ("current", _Marks),
    ("current_add", _Added),
    ("first", _Marks),
    ("first_add", _Added),
    ("session", _Session),
    ("udata", _Visitor),
)


def _number(value: Number) -> int | None:
    return None if value is None or value in _BLANKS else int(value)


def _times(values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


def flatten_answer(account: str, body: bytes) -> pa.Table:
    """The calls of one answer of `getCallsInfo`, one row each, `account` in the first column.

    Texts stay as they came, blanks too; times are UTC.
    """
    calls = _DECODER.decode(body).result
    visits = [
        call.visit_info if isinstance(call.visit_info, _Visit) else _NO_VISIT for call in calls
    ]
    columns = {"account": pa.array([account] * len(calls), pa.string())}
    for name in _NUMBERS:
        columns[name] = pa.array([getattr(call, name) for call in calls], pa.int64())
    for name in _BLANK_NUMBERS:
        columns[name] = pa.array([_number(getattr(call, name)) for call in calls], pa.int64())
    for name in _TIMES:
        columns[name] = _times([getattr(call, name) for call in calls])
    for name in _TEXTS:
        columns[name] = pa.array([getattr(call, name) for call in calls], pa.string())
    for part, kind in _PARTS:
        marks = [getattr(visit, part) for visit in visits]
        for name in kind.__struct_fields__:
            arrow = pa.int64() if name in _PART_NUMBERS else pa.string()
            columns[f"{part}_{name}"] = pa.array([getattr(each, name) for each in marks], arrow)
    return pa.table(columns)
