"""Where an account's webhooks go, what goes wrong on the way, and the record of what was sent."""

import datetime as dt
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from callkeeper_assets.simulator.scenery import SOURCEBUSTER_KEYS, UTM_KEYS

WebhookEvent = Literal["Call is processing", "Call is over"]
EVENTS: Final[tuple[WebhookEvent, ...]] = get_args(WebhookEvent)
WebhookMethod = Literal["POST", "GET", "PUT", "DELETE"]

_SHARES: Final = ("loss", "duplicate", "wrong_order")
_FLAT_NAMES: Final = (
    *("id", "date", "date_timestamp", "order_date", "status_code", "status_reason", "phone1"),
    *("phone2", "status2_code", "status2_reason", "duration_sec", "duration_min", "duration2_min"),
    *("attempt", "a_type", "asr_attempts", "playback_tick", "event_source", "widget_hash"),
    *("widget_name", "record_url", "tags", "ip", "uip", "country", "city", "region", "district"),
    *("site", "ya_clientid", "roistat_visit", "hook_event"),
)
_VISIT_PATHS: Final = {
    "pgs": ("visit_info.session.pgs",),
    "cpg": ("visit_info.session.cpg",),
    "vst": ("visit_info.udata.vst",),
    "uag": ("visit_info.udata.uag",),
}


def _list_mark_paths() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield `current_source` and so on, and the canonical columns of the same values."""
    for visit, prefix in (("current", ""), ("first", "first_")):
        for utm, short in zip(UTM_KEYS.marks, SOURCEBUSTER_KEYS.marks, strict=True):
            paths = tuple(f"visit_info.{visit}.{key}" for key in (utm, short))
            yield utm.replace("utm", visit), paths
            yield prefix + utm, paths
        for name in ("entry_point", "referrer"):
            keys = (getattr(UTM_KEYS, name), getattr(SOURCEBUSTER_KEYS, name))
            paths = tuple(f"visit_info.{visit}_add.{key}" for key in keys)
            yield f"{visit}_{name}", paths
            yield prefix + name, paths
        yield f"{visit}_started", (f"visit_info.{visit}_add.fd",)


FIELD_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in _FLAT_NAMES},
    **_VISIT_PATHS,
    **dict(_list_mark_paths()),
    "ga_clientid": ("ga_clientid", "ga_clid"),
    "call_id": ("id",),
    "called_at": ("date",),
    "ordered_at": ("order_date",),
    "connection_type": ("a_type",),
    "manager_phone": ("phone1",),
    "client_phone": ("phone2",),
    "pages": _VISIT_PATHS["pgs"],
    "page": _VISIT_PATHS["cpg"],
    "visit": _VISIT_PATHS["vst"],
    "user_agent": _VISIT_PATHS["uag"],
    "event": ("hook_event",),
}
"""Each value that an owner can rename, by the API's name or the canonical column's: the places
where a nested body has it."""


CALLTRACKING_PARAMETERS: Final = (
    *("record_url", "ip", "device", "host", "city", "region", "country", "source_type"),
    *("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "client_number"),
    *("calltracking_number", "manager_number", "time_start", "duration", "dtmf_pressed"),
    *("call_status", "call_type", "company_name", "office_name", "user_id", "ga_clid"),
)
"""What a webhook of call tracking says, each of which its owner can rename: it names no call."""


@dataclass(frozen=True)
class WebhookSettings:
    """An account's webhooks.

    Attributes:
        url: where they go, token and all; empty: none are sent.
        method: `GET` puts the call into the query.
        content: of every other method's body.
        layout: `session` and `udata` inside `visit_info`, beside it, or all without their parents.
        nested_as: what a query or form makes of nested values: `session[pgs]`, `session.pgs`, or
            `session` with JSON as its value.
        names: the newer cabinet's free naming: from one of `FIELD_PATHS`, or a parameter of call
            tracking, to the owner's name, which the value then has at the top of the body, and no
            longer in its own place.
        calltracking: sends those of call tracking too: one a call, when it is over.
        calltracking_zone: in which they write the time; they do not name it.
        loss: probability that a webhook is never sent, though the source believes that it was.
        duplicate: probability that one is sent twice, at once or up to two minutes later.
        wrong_order: probability that a call's end is sent before its beginning.
        timeout_sec: how long the receiver may take to connect, and to answer.
        tries: how often one is sent until it is answered with 2xx; no document promises a second.
        retry_wait_sec: between tries.
        connections: how many are kept alive and used side by side.
        live: sends a call's webhooks when it starts and when it settles, by the clock.
    """

    url: str = field(default="", repr=False)
    method: WebhookMethod = "POST"
    content: Literal["json", "form"] = "json"
    layout: Literal["inside", "beside", "flat"] = "inside"
    nested_as: Literal["brackets", "dots", "json"] = "brackets"
    names: dict[str, str] = field(default_factory=dict)
    calltracking: bool = False
    calltracking_zone: str = "Europe/Moscow"
    loss: float = 0.0
    duplicate: float = 0.0
    wrong_order: float = 0.0
    timeout_sec: float = 10.0
    tries: int = 1
    retry_wait_sec: float = 1.0
    connections: int = 4
    live: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not be sent; no message shows the URL.

        Raises:
            ValueError: the URL, a probability, a number or a name is impossible.
        """
        if self.url:
            _check_url(self.url)
        elif self.live:
            raise ValueError("webhooks cannot be live without a url to send them to")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a probability, 0 to 1")
        if self.tries < 1 or self.connections < 1 or self.timeout_sec <= 0:
            raise ValueError("tries and connections are at least 1, timeout_sec is more than 0")
        nameable = {*FIELD_PATHS, *CALLTRACKING_PARAMETERS}
        unknown = sorted(set(self.names) - nameable)
        if unknown:
            known = ", ".join(sorted(nameable))
            raise ValueError(f"no webhook has {', '.join(unknown)}; names are given to {known}")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_right = False
    # A space or a line's end would be a second request, or none.
    if not is_right or not url.isascii() or any(each <= " " for each in url):
        raise ValueError("the webhooks' url is none; it is as http://host:8080/path")


def describe_webhooks(settings: WebhookSettings) -> dict[str, object]:
    """The settings for everybody's eyes: of the URL only where it leads."""
    shown = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return {**shown, "url": mask_address(settings.url) if settings.url else ""}


def mask_address(url: str) -> str:
    """A URL's server alone: a token can be anywhere after it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/…"


SendOutcome = Literal["answered", "unanswered", "lost"]

# 2 KB each: a long-lived simulator forgets the oldest.
_MOST: Final = 100_000


@dataclass(frozen=True)
class SentDelivery:
    """One webhook on its way, once for each try.

    Attributes:
        number: counts the account's deliveries from 1, in the order in which they ended.
        sent_at: real time in UTC, wherever the simulator's clock stands.
        address: the whole URL but for a `GET`'s payload.
        outcome: `lost` was never sent, though the source believes it was; `unanswered` may have
            arrived.
        status: of the receiver's answer; None without one.
        problem: what ended an unanswered one: an exception's name, as the text has the address.
        is_duplicate: the same webhook, sent another time for no reason.
        attempt: above 1 for one that is tried again.
        answer_sec: how long the receiver took.
        payload: the body, or a `GET`'s query.
    """

    number: int
    call_id: int
    event: WebhookEvent
    sent_at: dt.datetime
    address: str = field(repr=False)
    method: WebhookMethod
    outcome: SendOutcome
    status: int | None
    problem: str | None
    is_duplicate: bool
    attempt: int
    answer_sec: float | None
    payload: bytes = field(repr=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver answered with 2xx: it has promised to keep the payload."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx


class DeliveryLog:
    """An account's deliveries, from any thread; the last 100,000 are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[SentDelivery] = deque(maxlen=_MOST)
        self._count = 0

    def add(self, delivery: SentDelivery) -> SentDelivery:
        """Keep a delivery, under the next number."""
        with self._lock:
            self._count += 1
            numbered = replace(delivery, number=self._count)
            self._kept.append(numbered)
        return numbered

    @property
    def count(self) -> int:
        """How many there have been."""
        with self._lock:
            return self._count

    def list(self, call_ids: Collection[int] = (), after: int = 0) -> list[SentDelivery]:
        """Those of the given calls, or of all, with a higher number than `after`."""
        with self._lock:
            kept = tuple(self._kept)
        return [
            each
            for each in kept
            if each.number > after and (not call_ids or each.call_id in call_ids)
        ]
