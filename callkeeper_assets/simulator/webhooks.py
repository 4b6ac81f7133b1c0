"""An account's webhooks: sent on demand, or live by the clock, over several connections at once.

Every one is remembered, with what came of it.
"""

import datetime as dt
import http.client
import json
import random
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from callkeeper_assets.simulator.generation import SimulatedCall, see_at
from callkeeper_assets.simulator.rendering import ABSENT, MISSING, render_call
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Clock
from callkeeper_assets.simulator.webhook_settings import (
    CALLTRACKING_PARAMETERS,
    EVENTS,
    FIELD_PATHS,
    DeliveryLog,
    SendOutcome,
    SentDelivery,
    WebhookEvent,
    WebhookSettings,
)

Body = dict[str, Any]

# Not known while the call goes on; `duration2_sec` never is.
_KNOWN_AT_END: Final = ("duration_sec", "duration_min", "duration2_min")


def show_event(call: SimulatedCall, event: WebhookEvent) -> SimulatedCall:
    """The call as the webhook's moment knows it: going on (1/0), or at its end."""
    if event == "Call is over":
        return call
    return see_at(call._replace(open_code=1), call.called_ts - 1)


def _forget_durations(body: Body, style: int) -> None:
    for position, name in enumerate(_KNOWN_AT_END):
        spelling = style >> (14 + position) & 3
        if spelling == ABSENT:
            del body[name]
        else:
            body[name] = MISSING[spelling]


def _take(body: Body, path: str) -> Iterator[Any]:
    """Take a value out of its place, if it is there."""
    *parents, name = path.split(".")
    inner: Any = body
    for parent in parents:
        inner = inner.get(parent) if isinstance(inner, dict) else None
    if isinstance(inner, dict) and name in inner:
        yield inner.pop(name)


def _rename(body: Body, names: dict[str, str]) -> None:
    # All are taken before any is put back: an owner's name may be another field's own.
    taken = {
        new: value
        for name, new in names.items()
        for path in FIELD_PATHS[name]
        for value in _take(body, path)
    }
    body.update(taken)


def _lay_out(body: Body, layout: str) -> Body:
    """The body in the wanted layout; it comes with all of the visit inside `visit_info`."""
    visit = body.get("visit_info")
    if layout == "inside" or not isinstance(visit, dict):
        return body
    beside = {name: visit.pop(name) for name in ("session", "udata")}
    if layout == "beside":
        return {**body, **beside}
    del body["visit_info"]
    return {**visit, **beside["session"], **beside["udata"], **body}


def build_body(
    call: SimulatedCall, event: WebhookEvent, answers: AnswerSettings, settings: WebhookSettings
) -> Body:
    """A webhook's fields and values, before they become bytes."""
    if call.service == "calltracking":
        return _build_calltracking_body(call, settings)
    shown = show_event(call, event)
    body: Body = json.loads(render_call(shown, replace(answers, nesting="inside")))
    del body["duration2_sec"]
    if event == "Call is processing":
        _forget_durations(body, call.style)
    body["hook_event"] = event
    if "ip" in body:
        body["uip"] = body["ip"]
    _rename(body, {name: new for name, new in settings.names.items() if name in FIELD_PATHS})
    return _lay_out(body, settings.layout)


def _build_calltracking_body(call: SimulatedCall, settings: WebhookSettings) -> Body:
    """What a webhook of call tracking says: neither which call it is, nor in which zone it was."""
    marks = call.visit.current if call.visit else None
    started = dt.datetime.fromtimestamp(call.called_ts, ZoneInfo(settings.calltracking_zone))
    is_good = (call.status_code, call.status2_code) == (200, 200)
    values: Body = dict.fromkeys(CALLTRACKING_PARAMETERS, "")
    values |= {
        "record_url": call.record_url or "",
        "ip": call.ip or "",
        "host": call.site,
        "city": call.place.city or "",
        "region": call.place.region or "",
        "country": call.place.country or "",
        "source_type": "utm" if marks else "",
        "client_number": call.client_phone,
        "calltracking_number": call.manager_phone,
        "manager_number": call.manager_phone,
        "time_start": f"{started:%Y-%m-%d %H:%M:%S}",
        "duration": call.duration2_sec,
        "call_status": "success" if is_good else "fail",
        "call_type": "dynamic",
        "ga_clid": call.ga_clientid or "",
    }
    if marks:
        values |= {"utm_source": marks.source, "utm_medium": marks.medium}
        values |= {"utm_campaign": marks.campaign, "utm_term": marks.term}
    return {settings.names.get(name, name): value for name, value in values.items()}


def _list_pairs(body: Body, nested_as: str, prefix: str = "") -> Iterator[tuple[str, object]]:
    """A query's or form's pairs; a null has no spelling there, and is left out."""
    for name, value in body.items():
        full = name
        if prefix:
            full = f"{prefix}[{name}]" if nested_as == "brackets" else f"{prefix}.{name}"
        if not isinstance(value, dict):
            if value is not None:
                yield full, value
        elif nested_as == "json":
            yield full, json.dumps(value, ensure_ascii=False)
        else:
            yield from _list_pairs(value, nested_as, full)


def render_payload(body: Body, settings: WebhookSettings) -> bytes:
    """A body as it is sent: JSON in UTF-8, or the text of a form or query."""
    if settings.method != "GET" and settings.content == "json":
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return urlencode(list(_list_pairs(body, settings.nested_as))).encode()


_CONTENT_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


class WebhookConnection:
    """Connects with the first payload, and again whenever the receiver has hung up."""

    def __init__(self, settings: WebhookSettings) -> None:
        parts = urlsplit(settings.url)
        is_secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=settings.timeout_sec)
        self._path = parts.path or "/"
        self._query = parts.query.encode()
        self.settings = settings

    def send(self, payload: bytes) -> tuple[int | None, str | None]:
        """Send a payload: the answer's status, or the name of what came in place of an answer."""
        if self._is_dropped():
            self.close()
        try:
            if self.settings.method == "GET":
                query = b"&".join(filter(None, (self._query, payload))).decode("ascii")
                self._connection.request("GET", f"{self._path}?{query}")
            else:
                target = f"{self._path}?{self._query.decode()}" if self._query else self._path
                content_type = _CONTENT_TYPES[self.settings.content]
                self._connection.request(
                    self.settings.method, target, payload, {"Content-Type": content_type}
                )
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return None, type(error).__name__
        return answer.status, None

    def close(self) -> None:
        """Hang up; the next payload connects anew."""
        self._connection.close()

    def _is_dropped(self) -> bool:
        """Whether the receiver has closed the connection while it was idle."""
        if self._connection.sock is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.sock, selectors.EVENT_READ)
            return bool(selector.select(timeout=0))


_LATEST_DUPLICATE_SEC: Final = 120


class PlannedWebhook(NamedTuple):
    """One webhook that is to be sent; `due_ts` is the moment, on the simulator's clock."""

    due_ts: int
    call: SimulatedCall
    event: WebhookEvent
    is_lost: bool
    is_duplicate: bool


def happened_events(call: SimulatedCall, now: int) -> tuple[WebhookEvent, ...]:
    """What a call's webhooks can report at `now`."""
    return tuple(event for event in list_events(call) if _event_ts(call, event) <= now)


def list_events(call: SimulatedCall) -> tuple[WebhookEvent, ...]:
    """What a call's webhooks report; of call tracking there is one, when the call is over."""
    return EVENTS if call.service == "callback" else EVENTS[-1:]


def _event_ts(call: SimulatedCall, event: WebhookEvent) -> int:
    return call.called_ts if event == "Call is processing" else call.settles_ts


def _plan_call(
    call: SimulatedCall,
    events: Iterable[WebhookEvent],
    settings: WebhookSettings,
    rng: random.Random,
) -> Iterator[PlannedWebhook]:
    # Always the same number of draws before those of each event: one switch changes no other's.
    is_wrong = rng.random() < settings.wrong_order
    draws = {event: [rng.random() for _ in range(5)] for event in EVENTS}
    ordered = [event for event in EVENTS if event in events]
    is_wrong = is_wrong and len(ordered) == len(EVENTS)
    for event in reversed(ordered) if is_wrong else ordered:
        lost, duplicate, lost_again, at_once, share = draws[event]
        due_ts = call.settles_ts if is_wrong else _event_ts(call, event)
        yield PlannedWebhook(due_ts, call, event, lost < settings.loss, is_duplicate=False)
        if duplicate < settings.duplicate:
            # At once, two copies race on two connections.
            later = 0 if at_once < 0.5 else 1 + int(share * _LATEST_DUPLICATE_SEC)  # noqa: PLR2004
            is_lost = lost_again < settings.loss
            yield PlannedWebhook(due_ts + later, call, event, is_lost, is_duplicate=True)


def plan_webhooks(
    calls: Iterable[tuple[SimulatedCall, Collection[WebhookEvent]]],
    settings: WebhookSettings,
    seed: str,
) -> list[PlannedWebhook]:
    """The webhooks of calls for the given events of each, in the order in which they are due."""
    planned = [
        webhook
        for call, events in calls
        for webhook in _plan_call(
            call,
            events,
            settings,
            random.Random(f"{seed}/webhooks of {call.call_id}"),  # noqa: S311 - not a secret
        )
    ]
    planned.sort(key=lambda webhook: webhook.due_ts)
    return planned


class _Batch:
    """Webhooks that are sent together, dealt out to lanes of one connection each."""

    def __init__(
        self,
        webhooks: Sequence[PlannedWebhook],
        settings: WebhookSettings,
        answers: AnswerSettings,
        rate: float | None,
    ) -> None:
        self.settings = settings
        self.answers = answers
        self.rate = rate
        self.started = time.monotonic()
        self.done: list[list[SentDelivery]] = [[] for _ in webhooks]
        self.lanes: list[list[tuple[int, PlannedWebhook]]] = [
            [] for _ in range(settings.connections)
        ]
        self.under_way = [threading.Event() for _ in webhooks]
        originals: dict[tuple[int, str], threading.Event] = {}
        for position, webhook in enumerate(webhooks):
            call_id = webhook.call.call_id
            lane = (call_id + webhook.is_duplicate) % settings.connections
            self.lanes[lane].append((position, webhook))
            if not webhook.is_duplicate:
                originals[call_id, webhook.event] = self.under_way[position]
        # None: its original went with an earlier batch, or it is one.
        self.awaited = [
            originals.get((each.call.call_id, each.event)) if each.is_duplicate else None
            for each in webhooks
        ]

    def wait_sec(self, position: int) -> float:
        """How long the webhook of that position has to wait before it is sent."""
        if self.rate is None:
            return 0.0
        return max(0.0, self.started + position / self.rate - time.monotonic())


class WebhookSender:
    """One account's way to its receivers, with the connections that it keeps alive."""

    def __init__(self, log: DeliveryLog) -> None:
        self._log = log
        self._closing = threading.Event()
        self._idle: list[WebhookConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Send no more; what is under way still gets its answer."""
        self._closing.set()
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def send(
        self,
        webhooks: Sequence[PlannedWebhook],
        settings: WebhookSettings,
        answers: AnswerSettings,
        rate: float | None = None,
    ) -> list[SentDelivery]:
        """Send in the given order, at most `rate` a second; return when all are done.

        Returns:
            What came of each, in the given order: one record a try.
        """
        batch = _Batch(webhooks, settings, answers, rate)
        lanes = [lane for lane in batch.lanes if lane]
        if lanes:
            with ThreadPoolExecutor(len(lanes), "callkeeper-webhooks") as pool:
                for result in [pool.submit(self._send_lane, batch, lane) for lane in lanes]:
                    result.result()
        return [delivery for tries in batch.done for delivery in tries]

    def _send_lane(self, batch: _Batch, lane: list[tuple[int, PlannedWebhook]]) -> None:
        try:
            with self._borrow_connection(batch.settings) as connection:
                for position, webhook in lane:
                    self._closing.wait(batch.wait_sec(position))
                    awaited = batch.awaited[position]
                    if awaited is not None:
                        awaited.wait()
                    batch.under_way[position].set()
                    if self._closing.is_set():
                        return
                    tries = self._send_webhook(connection, webhook, batch.answers)
                    batch.done[position] = list(tries)
        finally:
            # Other lanes must not wait for what this one no longer sends.
            for position, _ in lane:
                batch.under_way[position].set()

    @contextmanager
    def _borrow_connection(self, settings: WebhookSettings) -> Iterator[WebhookConnection]:
        with self._lock:
            while self._idle and self._idle[-1].settings != settings:
                self._idle.pop().close()
            connection = self._idle.pop() if self._idle else WebhookConnection(settings)
        try:
            yield connection
        finally:
            with self._lock:
                if self._closing.is_set():
                    connection.close()
                else:
                    self._idle.append(connection)

    def _send_webhook(
        self, connection: WebhookConnection, webhook: PlannedWebhook, answers: AnswerSettings
    ) -> Iterator[SentDelivery]:
        """Send until it is answered with 2xx, at most as often as the settings allow."""
        settings = connection.settings
        payload = render_payload(
            build_body(webhook.call, webhook.event, answers, settings), settings
        )
        for attempt in range(1, settings.tries + 1):
            sent_at, started = dt.datetime.now(dt.UTC), time.monotonic()
            status, problem = (None, None) if webhook.is_lost else connection.send(payload)
            delivery = SentDelivery(
                number=0,
                call_id=webhook.call.call_id,
                event=webhook.event,
                sent_at=sent_at,
                address=settings.url,
                method=settings.method,
                outcome=_name_outcome(webhook, status),
                status=status,
                problem=problem,
                is_duplicate=webhook.is_duplicate,
                attempt=attempt,
                answer_sec=None if status is None else time.monotonic() - started,
                payload=payload,
            )
            yield self._log.add(delivery)
            is_settled = delivery.is_accepted or webhook.is_lost or attempt == settings.tries
            if is_settled or self._closing.wait(settings.retry_wait_sec):
                return


def _name_outcome(webhook: PlannedWebhook, status: int | None) -> SendOutcome:
    if webhook.is_lost:
        return "lost"
    return "unanswered" if status is None else "answered"


_TICK_SEC: Final = 0.2
_AHEAD_SEC: Final = 6 * 3600
# No call is open for longer by itself (see `generation.py`).
_BACK_SEC: Final = 2 * 86400


class CallRecords(Protocol):
    """What is known here of an account.

    `revision` is another number after each change of a call.
    """

    clock: Clock
    revision: int

    def list_calls(self, start: int, end: int) -> list[SimulatedCall]:
        """The calls that begin in a window of epoch seconds, as they will have ended."""


class LiveWebhooks:
    """The webhooks of calls that begin or settle after this was made."""

    def __init__(self, account: CallRecords, seed: str) -> None:
        self._account = account
        self._seed = seed
        self._since = self._seen = account.clock.now()
        self._taken: set[tuple[int, str]] = set()
        self._planned: deque[PlannedWebhook] = deque()
        self._planned_until = 0
        self._basis: tuple[WebhookSettings, int] | None = None

    def take_due(self, settings: WebhookSettings) -> list[PlannedWebhook]:
        """What has become due since the last time, in its order."""
        now, basis = self._account.clock.now(), (settings, self._account.revision)
        if now < self._seen:
            # What happens again is sent again.
            self._since = self._seen = now
            self._taken.clear()
            self._basis = None
        if basis != self._basis or now > self._planned_until:
            self._basis = basis
            self._plan(now, settings)
        self._seen = now
        due = []
        while self._planned and self._planned[0].due_ts <= now:
            due.append(self._planned.popleft())
        self._taken.update(_identify(each) for each in due if not each.is_duplicate)
        return due

    def _plan(self, now: int, settings: WebhookSettings) -> None:
        self._planned_until = now + _AHEAD_SEC
        calls = self._account.list_calls(self._seen - _BACK_SEC, self._planned_until + 1)
        planned = plan_webhooks(
            [
                (call, list_events(call))
                for call in calls
                if max(call.called_ts, call.settles_ts) > self._since
            ],
            settings,
            self._seed,
        )
        self._taken.intersection_update(map(_identify, planned))
        self._planned = deque(filter(self._is_wanted, planned))

    def _is_wanted(self, webhook: PlannedWebhook) -> bool:
        if webhook.is_duplicate:
            return webhook.due_ts > self._seen
        # A call that was brought to its end at once was due before now, but is not sent yet.
        return webhook.due_ts > self._since and _identify(webhook) not in self._taken


def _identify(webhook: PlannedWebhook) -> tuple[int, str]:
    return webhook.call.call_id, webhook.event


class Ticker:
    """Does something five times a second, until it is stopped."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._stopping = threading.Event()
        # A daemon: an account that nobody closes must not keep its process from ending.
        self._thread = threading.Thread(
            target=self._run, name="callkeeper-live-webhooks", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Return when what is under way is done."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_SEC):
            self._act()


class SendingAccount(CallRecords, Protocol):
    """What is known here of an account."""

    settings: AccountSettings
    answers: AnswerSettings


class Webhooks:
    """One account's webhooks; any thread may use them."""

    def __init__(self, account: SendingAccount, settings: WebhookSettings) -> None:
        self.settings = settings
        self.log = DeliveryLog()
        self._account = account
        self._sender = WebhookSender(self.log)
        self._lock = threading.Lock()
        self._rounds = 0
        self._live: Ticker | None = None
        self.configure(settings)

    def configure(self, settings: WebhookSettings) -> None:
        """Send by other switches from now on; what is being sent goes on by the old ones."""
        with self._lock:
            self.settings = settings
            if settings.live and self._live is None:
                live = LiveWebhooks(self._account, f"{self._seed}/live")
                self._live = Ticker(lambda: self._send_due(live))
            elif not settings.live:
                self._stop_live()

    def close(self) -> None:
        """Send nothing more."""
        self._sender.close()
        with self._lock:
            self._stop_live()

    def send(
        self, calls: Iterable[SimulatedCall], events: Collection[WebhookEvent], rate: float | None
    ) -> list[SentDelivery]:
        """Send what has happened of calls by now; return what came of each, one record a try.

        Raises:
            ValueError: there is no URL to send to, or no rate a second.
        """
        settings = self.settings
        if not settings.url:
            name = self._account.settings.name
            raise ValueError(f"account {name} sends no webhooks: set the url of its webhooks first")
        if rate is not None and rate <= 0:
            raise ValueError(f"rate is {rate}; it is more than 0 webhooks a second")
        with self._lock:
            self._rounds += 1
            seed = f"{self._seed}/round {self._rounds}"
        now = self._account.clock.now()
        wanted = [
            (call, [event for event in happened_events(call, now) if event in events])
            for call in calls
        ]
        planned = plan_webhooks(wanted, settings, seed)
        return self._sender.send(planned, settings, self._account.answers, rate)

    @property
    def _seed(self) -> str:
        return f"{self._account.settings.seed}/{self._account.settings.key}"

    def _send_due(self, live: LiveWebhooks) -> None:
        settings = self.settings
        if settings.live:
            self._sender.send(live.take_due(settings), settings, self._account.answers)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
