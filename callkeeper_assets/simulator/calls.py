"""One simulated call, as typed values: what the source knows, before any of its spellings.

`rendering.py` spells a call as the API sends it, `truth.py` tells it as a warehouse should hold it;
both start here. `NamedTuple`s, not dataclasses, because a million of them are made: half the time
and memory.
"""

from typing import Final, Literal, NamedTuple

from callkeeper_assets.simulator.marks import Marks
from callkeeper_assets.simulator.places import Place
from callkeeper_assets.simulator.statuses import NOT_FINAL

Service = Literal["callback", "calltracking", "import"]

NEVER: Final = 1 << 53
"""A time later than any: what is held not final until somebody finalises it."""


class Visit(NamedTuple):
    """The visit that a call was ordered in; times are epoch seconds."""

    current: Marks
    current_ts: int
    first: Marks
    first_ts: int
    pages: int
    page: str
    ordinal: int
    user_agent: str


class Call(NamedTuple):
    """One call; times are epoch seconds, durations seconds, None is unknown to the source.

    `settles_ts` is when it becomes final, `open_code` its first status code until then, `style`
    random bits that decide how its values are spelt (number or string, which kind of missing
    value).
    """

    call_id: int
    called_ts: int
    ordered_ts: int
    settles_ts: int
    open_code: int
    style: int
    status_code: int
    status2_code: int
    duration_sec: int
    duration2_sec: int
    attempt: int
    connection_type: int
    playback_tick: int | None
    asr_attempts: int | None
    place: Place
    ip: str | None
    site: str
    ga_clientid: str | None
    ya_clientid: str | None
    roistat_visit: str | None
    manager_phone: str
    manager_extension: str | None
    client_phone: str
    widget_hash: str
    widget_name: str
    record_url: str | None
    tags: str | None
    event_source: str
    visit: Visit | None
    service: Service = "callback"


def is_final_status(call: Call) -> bool:
    """Whether the status that the call shows can no longer change."""
    return call.status_code not in NOT_FINAL


def see_at(call: Call, now: int) -> Call:
    """The call as shown at `now`: open, without durations and recording, until it settles."""
    if call.settles_ts <= now:
        return call
    return call._replace(
        status_code=call.open_code,
        status2_code=0,
        duration_sec=0,
        duration2_sec=0,
        record_url=None,
        connection_type=0,
    )


def count_minutes(seconds: int) -> int:
    """Charged minutes: every begun minute counts."""
    return -(-seconds // 60)
