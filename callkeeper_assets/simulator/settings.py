"""What a simulated account is, how it answers, which faults it shows, and its clock."""

import datetime as dt
import re
import time
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import msgspec

MAX_CALLS_PER_DAY = 90_000
KEY_FORM = re.compile(r"[0-9A-Fa-f]{32}")
OLD_KEY_FORM = re.compile(r"[0-9A-Za-z]{16}")

Record = TypeVar("Record")

Refusal = Literal["none", "unauthorized_host", "wrong_key", "unknown_user"]
OverLimit = Literal["server_error", "hang", "cut_body", "cut_connection"]
FaultKind = Literal[
    "latency",
    "server_error",
    "too_many_requests",
    "hang",
    "cut_body",
    "cut_connection",
    "html",
]


@dataclass(frozen=True)
class AccountSettings:
    """One simulated account; its calls follow from these values alone.

    Attributes:
        key: 32 hexadecimal characters, or 16 letters and digits as older accounts have.
        name: how control requests name the account, so that they need no key.
        time_zone: the zone of the account's business hours and of its generated days.
        calls_per_day: the mean; with `rhythm="flat"` every day has exactly so many.
        first_day: no call is older; `date` left empty asks from here on.
        rhythm: `week` has busy Mondays and quiet Sundays, `flat` equal days.
        calltracking_per_day: calls of that service on each day, which only the unified API shows.
        imports_per_day: the same of calls that were imported.
        returning: the share of calls by clients who called before; and then an order that failed
            is tried again, as the next attempt. At 0 each call is a stranger's.
        only_api: the one that knows the key, as CallKeeper has it; empty: both do, for comparisons.
    """

    key: str
    name: str = ""
    time_zone: str = "Europe/Moscow"
    calls_per_day: int = 100
    seed: int = 1
    first_day: dt.date = dt.date(2025, 1, 1)
    rhythm: Literal["week", "flat"] = "week"
    calltracking_per_day: int = 0
    imports_per_day: int = 0
    only_api: Literal["", "callkeeper", "ckct"] = ""
    returning: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what could not be served.

        Raises:
            ValueError: the key's form, the number of calls or the zone is impossible.
        """
        if not (OLD_KEY_FORM.fullmatch(self.key) or KEY_FORM.fullmatch(self.key)):
            raise ValueError(
                f"an account's key has {len(self.key)} characters; allowed are 32 hexadecimal ones,"
                " or 16 letters and digits"
            )
        try:
            zoneinfo.ZoneInfo(self.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"no such time zone: {self.time_zone}; use a name as Europe/Moscow"
            ) from None
        if not 0 <= self.calls_per_day <= MAX_CALLS_PER_DAY:
            raise ValueError(
                f"calls_per_day is {self.calls_per_day}, allowed are 0 to {MAX_CALLS_PER_DAY}:"
                " a day has no more ids"
            )


@dataclass(frozen=True)
class AnswerSettings:
    """The switches of an account's answers: one value for each reading of the documentation.

    Attributes:
        date_to: whether a call at exactly `date[to]` belongs to the window.
        bare_date_to: a bare date as `date[to]` is the midnight at its start, or at its end.
        failure_shape: the failure in a one-element list, as two public clients read it, or bare.
        failure_status: the documented HTTP status, or 200 for every failure.
        empty_period: an empty list of the success shape, a bare empty list, or "No rows found".
        empty_failure_status: the HTTP status of "No rows found".
        success_shape: `{"result": [...]}`, or a bare list.
        user_info_shape: the user in a one-element list, or bare.
        mark_keys: the visit's marks by Sourcebuster's keys, or by the documents' `utm_*`.
        nesting: `session` and `udata` inside `visit_info`, or beside it.
        unknown_fields: adds fields that no document names.
        unusable: the share of calls that are sent as records which cannot be used, in all ways.
        without_call_time: the share of the unified API's calls that come without `callTime`.
        paid_till: as `getUserInfo` sends it; a past one still answers.
        refusal: the documented failure that every method answers.
        max_calls: a window with more calls is over the limit.
        max_days: a window longer than this is over the limit.
        over_limit: what a window over a limit brings.
        hang_sec: how long a hanging answer holds the connection before it is dropped.
        unified_shape: the unified API's list bare, or in the older shape, with the total.
        unified_order: which calls its first page has.
        unified_page_length: calls on one of its pages.
        unified_moves: the probability that a call comes or goes before it answers a page.
        unified_hooks: lists each call's webhooks, which the newest document does not.
        unified_address: at which of its two addresses the unified API is.
        unified_elsewhere: what the other one answers; a redirect leads to another host.
        bounds: which bounds of a window are heeded, and whether day and month change places.
        bounds_zone: the zone in which bounds are read, whatever is asked for; empty: as asked.
        silent_cap: calls that an answer has at most, without a word of those cut away.
        silent_cap_keeps: which calls of a window are left then.
    """

    date_to: Literal["inclusive", "exclusive"] = "inclusive"
    bare_date_to: Literal["start", "end"] = "end"
    failure_shape: Literal["object", "list"] = "list"
    failure_status: Literal["documented", "ok"] = "documented"
    empty_period: Literal["empty_result", "bare_list", "failure"] = "empty_result"
    empty_failure_status: int = 200
    success_shape: Literal["result", "list"] = "result"
    user_info_shape: Literal["object", "list"] = "list"
    mark_keys: Literal["sourcebuster", "utm"] = "sourcebuster"
    nesting: Literal["inside", "beside"] = "inside"
    unknown_fields: bool = False
    unusable: float = 0.0
    without_call_time: float = 0.0
    paid_till: dt.datetime = dt.datetime(2030, 7, 1, tzinfo=dt.timezone(dt.timedelta(hours=3)))
    refusal: Refusal = "none"
    max_calls: int | None = None
    max_days: float | None = None
    over_limit: OverLimit = "server_error"
    hang_sec: float = 60.0
    unified_shape: Literal["list", "wrapped"] = "list"
    unified_order: Literal["newest", "oldest"] = "newest"
    unified_page_length: int = 1000
    unified_moves: float = 0.0
    unified_hooks: bool = True
    unified_address: Literal["both", "folder", "index_php"] = "both"
    unified_elsewhere: Literal["not_found", "redirect"] = "not_found"
    bounds: Literal["heeded", "ignored", "only_from", "only_to", "day_first"] = "heeded"
    bounds_zone: str = ""
    silent_cap: int | None = None
    silent_cap_keeps: Literal["newest", "oldest"] = "newest"


@dataclass(frozen=True)
class Fault:
    """One fault, drawn for each request of an account.

    Attributes:
        probability: of striking a request that it applies to.
        times: strikes so many requests, then is gone; None: until it is cleared.
        methods: the API methods it applies to; empty: all.
        status: of `server_error` and `html`.
        retry_after: the `Retry-After` header's value: seconds or an HTTP date; None: no header.
        seconds: of `latency` and `hang`.
        kept_share: the share of the body that `cut_body` and `cut_connection` let through.
    """

    kind: FaultKind
    probability: float = 1.0
    times: int | None = None
    methods: tuple[str, ...] = field(default=())
    status: int = 503
    retry_after: str | None = None
    seconds: float = 1.0
    kept_share: float = 0.6


def convert_record(
    kind: type[Record], values: Mapping[str, Any], *, is_text: bool = False
) -> Record:
    """A record of settings from values that came over HTTP or, with `is_text`, as words.

    Raises:
        ValueError: a name that the record does not have, or a value that it does not allow.
    """
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(
            f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(names))}"
        )
    return msgspec.convert(values, kind, strict=not is_text)


class Clock:
    """Gives `now` in epoch seconds; calls after it do not exist yet."""

    def __init__(self, now: dt.datetime | None = None) -> None:
        self._fixed: int | None = None
        self.set(now)

    def set(self, now: dt.datetime | None) -> None:
        """Stop the clock at an aware moment, or let it follow real time again.

        Raises:
            ValueError: the moment has no offset from UTC.
        """
        if now is not None and now.utcoffset() is None:
            raise ValueError(
                f"the clock was set to {now.isoformat()}; it needs an offset, as +00:00"
            )
        self._fixed = None if now is None else int(now.timestamp())

    def now(self) -> int:
        """Epoch seconds."""
        return int(time.time()) if self._fixed is None else self._fixed
