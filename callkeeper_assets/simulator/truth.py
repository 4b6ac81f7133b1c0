"""What a right warehouse holds of the simulator's calls, and how calls change after serving."""

import datetime as dt
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from callkeeper_assets.simulator.generation import SimulatedCall, count_minutes, is_final_status
from callkeeper_assets.simulator.rendering import build_universal_id
from callkeeper_assets.simulator.scenery import COUNTRY_NAMES, classify, reason2_of, reason_of

Scalar = int | str | bool | dt.datetime | None

ApiName = Literal["callkeeper", "ckct"]

SUMMED: Final = (
    "duration_sec",
    "duration2_sec",
    "duration_min",
    "duration2_min",
    "attempt",
    "asr_attempts",
    "playback_tick",
    "pages",
    "visit",
)


# What the unified API has no field for; `utm_type` is found from the other marks.
_NOT_IN_UNIFIED_API: Final = (
    *("status_reason", "status2_reason", "manager_extension", "district"),
    *("duration_sec", "duration_min", "first_utm_type", "first_utm_source", "first_utm_medium"),
    *("first_utm_campaign", "first_utm_content", "first_utm_term"),
)


# The manager's leg: a text can have been read.
_ANSWERED: Final = 200
_ONLY_OF_CALLBACKS: Final = ("ordered_at", "widget_hash", "widget_name", "event_source")


@dataclass(frozen=True)
class Truth:
    """The source's calls of a range of local days, in the order of their time.

    Attributes:
        count: number of calls.
        sums: by column of `SUMMED`, and `call_id`; a None counts as 0.
        calls: one dict a call, by canonical column; empty when only totals were asked for.
        api: whose: what it cannot send is None.
    """

    count: int
    sums: dict[str, int]
    calls: list[dict[str, Scalar]]
    api: ApiName = "callkeeper"


def _moment(ts: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ts, dt.UTC)


def _describe_visit(call: SimulatedCall) -> dict[str, Scalar]:
    visit = call.visit
    marks = visit.current if visit else None
    first = visit.first if visit else None
    return {
        "pages": visit.pages if visit else None,
        "visit": visit.ordinal if visit else None,
        "page": visit.page if visit else None,
        "user_agent": visit.user_agent if visit else None,
        "utm_type": marks.kind if marks else None,
        "utm_source": marks.source if marks else None,
        "utm_medium": marks.medium if marks else None,
        "utm_campaign": marks.campaign if marks else None,
        "utm_content": marks.content if marks else None,
        "utm_term": marks.term if marks else None,
        "entry_point": marks.entry_point if marks else None,
        "referrer": marks.referrer if marks else None,
        "first_utm_type": first.kind if first else None,
        "first_utm_source": first.source if first else None,
        "first_utm_medium": first.medium if first else None,
        "first_utm_campaign": first.campaign if first else None,
        "first_utm_content": first.content if first else None,
        "first_utm_term": first.term if first else None,
    }


def describe_call(call: SimulatedCall) -> dict[str, Scalar]:
    """One call by canonical column."""
    code, code2 = call.status_code, call.status2_code
    return {
        "call_id": call.call_id,
        "called_at": _moment(call.called_ts),
        "ordered_at": _moment(call.ordered_ts),
        "status": classify(code, code2),
        "is_final": is_final_status(call),
        "status_code": code,
        "status_reason": reason_of(code, code2),
        "status2_code": code2,
        "status2_reason": reason2_of(code2),
        "duration_sec": call.duration_sec,
        "duration2_sec": call.duration2_sec,
        "duration_min": count_minutes(call.duration_sec),
        "duration2_min": count_minutes(call.duration2_sec),
        "attempt": call.attempt,
        "asr_attempts": call.asr_attempts,
        "playback_tick": call.playback_tick,
        "connection_type": call.connection_type,
        "service": call.service,
        "event_source": call.event_source,
        "manager_phone": call.manager_phone,
        "manager_extension": call.manager_extension,
        "client_phone": call.client_phone,
        "widget_hash": call.widget_hash,
        "widget_name": call.widget_name,
        "record_url": call.record_url,
        "tags": call.tags,
        "ip": call.ip,
        "country": call.place.country,
        "city": call.place.city,
        "region": call.place.region,
        "district": call.place.district,
        "site": call.site,
        "ga_clientid": call.ga_clientid,
        "ya_clientid": call.ya_clientid,
        "roistat_visit": call.roistat_visit,
        **_describe_visit(call),
    }


def _give_id(call: SimulatedCall) -> int:
    """The warehouse's call id: those of other services lie apart from the callbacks'."""
    match call.service:
        case "callback":
            return call.call_id
        case "calltracking":
            return 4_000_000_000_000_000 + call.call_id
        case _:
            return _hash(build_universal_id(call))


def _hash(universal_id: str) -> int:
    """Hash by the rule as it is documented, not by the product's code, which this is to prove."""
    digest = int.from_bytes(hashlib.blake2b(universal_id.encode(), digest_size=16).digest())
    return 5_000_000_000_000_000 + digest % (2**53 - 1 - 5_000_000_000_000_000)


def describe_unified_call(call: SimulatedCall) -> dict[str, Scalar]:
    """One call by canonical column, as far as the unified API sends it."""
    country, is_callback = call.place.country, call.service == "callback"
    return {
        **describe_call(call),
        **dict.fromkeys(
            _NOT_IN_UNIFIED_API if is_callback else (*_NOT_IN_UNIFIED_API, *_ONLY_OF_CALLBACKS)
        ),
        "call_id": _give_id(call),
        "manager_phone": call.manager_phone.removeprefix("+"),
        "client_phone": call.client_phone.removeprefix("+"),
        "country": COUNTRY_NAMES[country] if country else None,
        # A 0 may be no value there: it counts only where there was something to count.
        "attempt": call.attempt or None,
        "asr_attempts": call.asr_attempts or (0 if call.connection_type else None),
        "playback_tick": call.playback_tick
        or (0 if call.status_code == _ANSWERED and is_callback else None),
    }


def build_truth(
    calls: Sequence[SimulatedCall], *, has_calls: bool, api: ApiName = "callkeeper"
) -> Truth:
    """Count and sums of calls, and the calls themselves if wanted."""
    if api == "ckct":
        sent = [describe_unified_call(call) for call in calls]
        sums = {
            name: sum(int(str(one[name] or 0)) for one in sent) for name in ("call_id", *SUMMED)
        }
        return Truth(len(calls), sums, sent if has_calls else [], api)
    sums = {
        "call_id": sum(call.call_id for call in calls),
        "duration_sec": sum(call.duration_sec for call in calls),
        "duration2_sec": sum(call.duration2_sec for call in calls),
        "duration_min": sum(count_minutes(call.duration_sec) for call in calls),
        "duration2_min": sum(count_minutes(call.duration2_sec) for call in calls),
        "attempt": sum(call.attempt for call in calls),
        "asr_attempts": sum(call.asr_attempts or 0 for call in calls),
        "playback_tick": sum(call.playback_tick or 0 for call in calls),
        "pages": sum(call.visit.pages for call in calls if call.visit),
        "visit": sum(call.visit.ordinal for call in calls if call.visit),
    }
    return Truth(len(calls), sums, [describe_call(call) for call in calls] if has_calls else [])


ChangeKind = Literal["changed", "added", "removed"]
ChangedField = Literal[
    "duration_sec",
    "duration2_sec",
    "attempt",
    "asr_attempts",
    "playback_tick",
    "tags",
    "record_url",
]


@dataclass(frozen=True)
class TruthChange:
    """One value of one call that is another now, or a call that came or went.

    Attributes:
        day: the call's local day in the account's zone.
        column: the canonical column; None for a call added or removed.
    """

    kind: ChangeKind
    day: dt.date
    call_id: int
    column: str | None = None
    old: Scalar = None
    new: Scalar = None


@dataclass
class DayChanges:
    """All that was done to one day, over what its seed gives."""

    replaced: dict[int, SimulatedCall] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    added: list[SimulatedCall] = field(default_factory=list)

    def apply(self, calls: list[SimulatedCall]) -> list[SimulatedCall]:
        """The day's calls as they are now, sorted by time."""
        kept = [
            self.replaced.get(call.call_id, call)
            for call in (*calls, *self.added)
            if call.call_id not in self.removed
        ]
        kept.sort(key=lambda call: (call.called_ts, call.call_id))
        return kept


def _other(rng: random.Random, low: int, high: int, old: int | None) -> int:
    value = rng.randint(low, high)
    return value if value != old else value + 1


_DRAWS: Final[dict[ChangedField, Callable[[random.Random, SimulatedCall], int | str]]] = {
    "duration_sec": lambda rng, call: call.duration_sec + rng.randint(1, 300),
    "duration2_sec": lambda rng, call: call.duration2_sec + rng.randint(1, 300),
    "attempt": lambda rng, call: _other(rng, 1, 9, call.attempt),
    "asr_attempts": lambda rng, call: _other(rng, 0, 5, call.asr_attempts),
    "playback_tick": lambda rng, call: _other(rng, 0, 5, call.playback_tick),
    "tags": lambda rng, call: f"{call.tags or 'проверен'}, {rng.randint(1, 999)}",
    "record_url": lambda rng, call: (
        f"https://records.callkeeper.ru/{call.call_id}/{rng.getrandbits(48):012x}.mp3"
    ),
}
CHANGED_FIELDS: Final[tuple[ChangedField, ...]] = tuple(_DRAWS)


def draw_value(rng: random.Random, call: SimulatedCall, changed: ChangedField) -> int | str:
    """A value that the call's field does not have yet."""
    return _DRAWS[changed](rng, call)


def list_changes(day: dt.date, old: SimulatedCall, new: SimulatedCall) -> list[TruthChange]:
    """Every canonical column in which two states of one call differ."""
    before, after = describe_call(old), describe_call(new)
    return [
        TruthChange("changed", day, old.call_id, column, before[column], after[column])
        for column in before
        if before[column] != after[column]
    ]
