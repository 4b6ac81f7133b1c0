"""The simulator over HTTP: accounts, answers, faults on the wire, control for other processes."""

import contextlib
import dataclasses
import datetime as dt
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.answers import (
    CUTS,
    FOLDER,
    PROGRAM,
    UNKNOWN_METHOD,
    Answer,
    RequestFailedError,
    UnifiedFailureError,
    answer_method,
    answer_unified,
    check_request,
    check_unified_request,
    find_refusal,
    read_key,
    render_failure,
    render_unified_failure,
)
from callkeeper_assets.simulator.settings import (
    AccountSettings,
    AnswerSettings,
    Clock,
    Fault,
    convert_record,
)
from callkeeper_assets.simulator.truth import ApiName, ChangedField, TruthChange
from callkeeper_assets.simulator.webhook_settings import (
    EVENTS,
    SentDelivery,
    WebhookEvent,
    WebhookSettings,
    describe_webhooks,
    mask_address,
)


class Simulator:
    """All of one simulated CallKeeper; `running.run_simulator` serves it."""

    def __init__(
        self,
        accounts: Sequence[AccountSettings],
        answers: AnswerSettings | None = None,
        now: dt.datetime | None = None,
    ) -> None:
        self.clock = Clock(now)
        self.accounts: list[SimulatedAccount] = []
        for settings in accounts:
            self.add_account(settings, answers)

    def add_account(
        self, settings: AccountSettings, answers: AnswerSettings | None = None
    ) -> SimulatedAccount:
        """Open an account; without a name it is called `account<n>`.

        Raises:
            ValueError: its key or name is taken.
        """
        name = settings.name or f"account{len(self.accounts) + 1}"
        if any(
            settings.key == each.settings.key or name == each.settings.name
            for each in self.accounts
        ):
            raise ValueError(f"the simulator already has an account of this key, or named {name}")
        account = SimulatedAccount(replace(settings, name=name), answers, self.clock)
        self.accounts.append(account)
        return account

    def close(self) -> None:
        """Send no more webhooks."""
        for account in self.accounts:
            account.webhooks.close()

    def find(self, key: str) -> SimulatedAccount | None:
        """The account of a key."""
        return next((each for each in self.accounts if each.settings.key == key), None)

    def account(self, name: str) -> SimulatedAccount:
        """The account of a name or key.

        Raises:
            KeyError: there is none.
        """
        for each in self.accounts:
            if name in (each.settings.name, each.settings.key):
                return each
        names = ", ".join(each.settings.name for each in self.accounts)
        raise KeyError(f"no such account; the simulator has {names or 'none'}")


ApiRequest = Mapping[str, Any]

PREFIX: Final = "/_simulator/"


def _render(status: int, value: object) -> Answer:
    return Answer(status, (msgspec.json.encode(value),))


def _day(request: ApiRequest, name: str) -> dt.date:
    if not request.get(name):
        raise ValueError(f"{name} is missing: a day as 2026-01-31")
    return dt.date.fromisoformat(str(request[name]))


def _accounts(simulator: Simulator, request: ApiRequest) -> list[SimulatedAccount]:
    """The named account, or all."""
    return [simulator.account(request["account"])] if request.get("account") else simulator.accounts


def _account(simulator: Simulator, request: ApiRequest) -> SimulatedAccount:
    accounts = _accounts(simulator, request)
    if len(accounts) != 1:
        raise ValueError(f"account is missing: the simulator has {len(accounts)}")
    return accounts[0]


def _describe(account: SimulatedAccount) -> dict[str, Any]:
    settings = dataclasses.asdict(account.settings)
    del settings["key"]
    return {
        **settings,
        "answers": dataclasses.asdict(account.answers),
        "webhooks": describe_webhooks(account.webhooks.settings),
        "faults": [dataclasses.asdict(fault) for fault in account.faults.list()],
        "requests": dict(account.requests),
        "most_at_once": account.most_at_once,
    }


def _get_accounts(simulator: Simulator, _: ApiRequest) -> object:
    return [_describe(account) for account in simulator.accounts]


def _get_truth(simulator: Simulator, request: ApiRequest) -> object:
    return _account(simulator, request).truth(
        _day(request, "from"),
        _day(request, "to"),
        request.get("time_zone") or None,
        has_calls=request.get("calls", "1") not in ("0", "false"),
        api=msgspec.convert(request.get("api", "callkeeper"), ApiName),
    )


def _post_account(simulator: Simulator, request: ApiRequest) -> object:
    return _describe(simulator.add_account(convert_record(AccountSettings, request)))


def _post_answers(simulator: Simulator, request: ApiRequest) -> object:
    switches = {name: value for name, value in request.items() if name != "account"}
    accounts = _accounts(simulator, request)
    for account in accounts:
        account.configure(
            convert_record(AnswerSettings, {**dataclasses.asdict(account.answers), **switches})
        )
    return [dataclasses.asdict(account.answers) for account in accounts]


def _post_faults(simulator: Simulator, request: ApiRequest) -> object:
    faults = [convert_record(Fault, fault) for fault in request.get("faults", [])]
    for account in _accounts(simulator, request):
        account.set_faults(*faults)
    return [dataclasses.asdict(fault) for fault in faults]


def _post_clock(simulator: Simulator, request: ApiRequest) -> object:
    now = request.get("now")
    simulator.clock.set(dt.datetime.fromisoformat(now) if now else None)
    return {"now": dt.datetime.fromtimestamp(simulator.clock.now(), dt.UTC)}


def _post_warm(simulator: Simulator, request: ApiRequest) -> object:
    first, last = _day(request, "from"), _day(request, "to")
    api = msgspec.convert(request.get("api", "callkeeper"), ApiName)
    return {"calls": sum(a.warm(first, last, api) for a in _accounts(simulator, request))}


def _post_change(simulator: Simulator, request: ApiRequest) -> list[TruthChange]:
    column = request.get("column")
    return _account(simulator, request).change(
        _day(request, "day"),
        int(request.get("count", 1)),
        column=None if column is None else msgspec.convert(column, ChangedField),
        value=request.get("value"),
        call_ids=request.get("call_ids", ()),
    )


def _post_add(simulator: Simulator, request: ApiRequest) -> list[TruthChange]:
    return _account(simulator, request).add(_day(request, "day"), int(request.get("count", 1)))


def _post_remove(simulator: Simulator, request: ApiRequest) -> list[TruthChange]:
    return _account(simulator, request).remove(
        _day(request, "day"), int(request.get("count", 1)), call_ids=request.get("call_ids", ())
    )


def _post_hold(simulator: Simulator, request: ApiRequest) -> list[TruthChange]:
    return _account(simulator, request).hold(
        _day(request, "day"), int(request.get("count", 1)), code=int(request.get("code", 1))
    )


def _post_finalise(simulator: Simulator, request: ApiRequest) -> list[TruthChange]:
    day = _day(request, "day") if request.get("day") else None
    return [each for account in _accounts(simulator, request) for each in account.finalise(day)]


def _describe_delivery(delivery: SentDelivery, *, has_payload: bool = False) -> dict[str, Any]:
    """A delivery without its address's path: a reader of it could send webhooks."""
    shown = {each.name: getattr(delivery, each.name) for each in dataclasses.fields(delivery)}
    payload = {"payload": delivery.payload.decode()} if has_payload else {}
    return {**shown, "address": mask_address(delivery.address), "payload": None, **payload}


def _get_deliveries(simulator: Simulator, request: ApiRequest) -> object:
    deliveries = _account(simulator, request).list_deliveries(
        [int(each) for each in str(request.get("call_ids", "")).split(",") if each],
        int(request.get("after", 0)),
    )
    has_payload = request.get("payloads", "0") not in ("0", "false")
    return [_describe_delivery(each, has_payload=has_payload) for each in deliveries]


def _post_webhooks(simulator: Simulator, request: ApiRequest) -> object:
    switches = {name: value for name, value in request.items() if name != "account"}
    accounts = _accounts(simulator, request)
    for account in accounts:
        now = dataclasses.asdict(account.webhooks.settings)
        account.webhooks.configure(convert_record(WebhookSettings, {**now, **switches}))
    return [describe_webhooks(account.webhooks.settings) for account in accounts]


def _post_send(simulator: Simulator, request: ApiRequest) -> object:
    first = _day(request, "from")
    deliveries = _account(simulator, request).send_webhooks(
        first,
        _day(request, "to") if request.get("to") else None,
        call_ids=request.get("call_ids", ()),
        new=int(request.get("new", 0)),
        events=msgspec.convert(request.get("events", EVENTS), tuple[WebhookEvent, ...]),
        rate=request.get("rate"),
    )
    return [_describe_delivery(each) for each in deliveries]


_ACTIONS: Final[dict[tuple[str, str], Callable[[Simulator, ApiRequest], object]]] = {
    ("GET", "accounts"): _get_accounts,
    ("GET", "truth"): _get_truth,
    ("POST", "accounts"): _post_account,
    ("POST", "answers"): _post_answers,
    ("POST", "faults"): _post_faults,
    ("POST", "clock"): _post_clock,
    ("POST", "warm"): _post_warm,
    ("POST", "change"): _post_change,
    ("POST", "add"): _post_add,
    ("POST", "remove"): _post_remove,
    ("POST", "hold"): _post_hold,
    ("POST", "finalise"): _post_finalise,
    ("GET", "deliveries"): _get_deliveries,
    ("POST", "webhooks"): _post_webhooks,
    ("POST", "send"): _post_send,
}


def answer_control(
    simulator: Simulator, verb: str, action: str, query: Mapping[str, str], body: bytes
) -> Answer:
    """Do what a control request asks; a wrong one gets a 400 with the reason in `error`."""
    act = _ACTIONS.get((verb, action))
    if act is None:
        known = ", ".join(f"{verb} {name}" for verb, name in _ACTIONS)
        return _render(404, {"error": f"no {verb} {action}; there are {known}"})
    try:
        request = {**query, **(msgspec.json.decode(body, type=dict[str, Any]) if body else {})}
        return _render(200, act(simulator, request))
    except (ValueError, KeyError, TypeError) as error:
        return _render(400, {"error": str(error.args[0])})


_HTML: Final = (
    "<!DOCTYPE html><html><head><title>CallKeeper</title></head>"
    "<body><h1>Ведутся технические работы</h1></body></html>"
).encode()
_HTML_TYPE: Final = "text/html; charset=utf-8"
_UNIFIED_PATHS: Final = (FOLDER, FOLDER.rstrip("/"), PROGRAM)
_FORM: Final = "application/x-www-form-urlencoded"


class SimulatorServer(ThreadingHTTPServer):
    """One listening simulator; `close` ends it with every connection, hanging ones too."""

    request_queue_size = 128

    def __init__(self, simulator: Simulator, host: str, port: int, *, is_logged: bool) -> None:
        self.simulator = simulator
        self.is_logged = is_logged
        self.closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    # Not daemon threads: `server_close` then waits for them, and nothing outlives a test.
    daemon_threads = False

    def remember(self, connection: socket.socket) -> None:
        """Note a connection that `close` has to end."""
        self._sockets.add(connection)

    def forget(self, connection: socket.socket) -> None:
        """Drop a connection that has ended."""
        self._sockets.discard(connection)

    def close(self) -> None:
        """Stop `serve_forever` and all webhooks, end all connections, wait for their threads."""
        self.closing.set()
        self.simulator.close()
        self.shutdown()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that went away; anything else is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: SimulatorServer
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    # Head and body are two writes: without this the second waits for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.remember(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _refuse_verb(self) -> None:
        # What body there is stays unread, so the connection cannot be used again.
        self.close_connection = True
        self._send(render_failure(UNKNOWN_METHOD, self._common_answers()))

    do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _refuse_verb  # noqa: N815 - the base's

    def log_message(self, *_: object) -> None:
        """Nothing of the base class's log: its lines have the query, and so the key."""

    def _common_answers(self) -> AnswerSettings:
        """The shapes of failures that belong to no account: those of the first."""
        accounts = self.server.simulator.accounts
        return accounts[0].answers if accounts else AnswerSettings()

    def _answer(self, body: bytes) -> None:
        started = time.perf_counter()
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        if target.path.startswith(PREFIX):
            action = target.path.removeprefix(PREFIX)
            answer = answer_control(self.server.simulator, self.command, action, query, body)
            self._send(answer)
            return
        if body and self.headers.get_content_type() == _FORM:
            query.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if target.path in _UNIFIED_PATHS:
            outcome = self._answer_unified(target.path, target.query)
        else:
            outcome = self._answer_statistics(target.path.removeprefix("/"), query)
        if self.server.is_logged:
            spent_ms = 1000 * (time.perf_counter() - started)
            line = f"{self.command} {target.path} {outcome} {spent_ms:.1f} ms\n"
            sys.stderr.write(line)

    def _answer_statistics(self, method: str, parameters: dict[str, str]) -> str:
        """Answer a request of the statistics API; what came of it, for the log."""
        try:
            account = check_request(method, parameters, self.server.simulator.find)
        except RequestFailedError as error:
            answer = render_failure(error.failure, self._common_answers())
            self._send(answer)
            return str(answer.status)
        return self._answer_account(
            account, method, lambda: answer_method(account, method, parameters)
        )

    def _answer_unified(self, path: str, query: str) -> str:
        """Answer a request of the unified API; what came of it, for the log."""
        account = self.server.simulator.find(read_key(query))
        answers = account.answers if account else self._common_answers()
        status, headers = find_refusal(path, query, answers)
        if status:
            self._send(Answer(status, (_HTML,)), content_type=_HTML_TYPE, headers=headers)
            return str(status)
        try:
            account, method, rest = check_unified_request(query, self.server.simulator.find)
        except UnifiedFailureError as error:
            self._send(render_unified_failure(str(error)))
            return str(error)
        return self._answer_account(account, method, lambda: answer_unified(account, rest))

    def _answer_account(
        self, account: SimulatedAccount, method: str, make_answer: Callable[[], Answer]
    ) -> str:
        """Answer a request of an account, with its faults."""
        with account.count_request(method):
            for fault in account.faults.strike(method):
                if fault.kind != "latency":
                    # Only a cut needs the right answer.
                    answer = make_answer() if fault.kind in CUTS else Answer(200, ())
                    return self._show_fault(fault, answer)
                self.server.closing.wait(fault.seconds)
            answer = make_answer()
            if answer.over_limit:
                fault = Fault(answer.over_limit, seconds=account.answers.hang_sec, status=504)
                return self._show_fault(fault, answer)
            self._send(answer)
        return str(answer.status)

    def _show_fault(self, fault: Fault, answer: Answer) -> str:
        kept = answer.body[: int(answer.size * fault.kept_share)]
        match fault.kind:
            case "server_error":
                self._send(Answer(fault.status, (_HTML,)), content_type=_HTML_TYPE)
            case "html":
                self._send(Answer(200, (_HTML,)), content_type=_HTML_TYPE)
            case "too_many_requests":
                headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                self._send(Answer(429, (b'{"message":"Too Many Requests"}',)), headers=headers)
            case "cut_body":
                self._send(Answer(answer.status, (kept,)))
            case "cut_connection":
                self.close_connection = True
                self._send(Answer(answer.status, (kept,)), promised=answer.size)
            case "hang" | "latency":
                self.server.closing.wait(fault.seconds)
                self.close_connection = True
        return fault.kind

    def _send(
        self,
        answer: Answer,
        *,
        content_type: str = "application/json; charset=utf-8",
        headers: dict[str, str] | None = None,
        promised: int | None = None,
    ) -> None:
        """Send an answer; `promised` is a body's length other than the true one."""
        self.send_response(answer.status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(answer.size if promised is None else promised))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            for part in answer.parts:
                self.wfile.write(part)


class RunningSimulator:
    """A simulator that answers at `base_url`, under the hands of this process.

    `base_urls` has the address of each of its APIs.
    """

    def __init__(self, simulator: Simulator, base_url: str) -> None:
        self.simulator = simulator
        self.base_url = base_url
        self.base_urls: Mapping[ApiName, str] = {"callkeeper": base_url, "ckct": base_url + FOLDER}
        self.clock = simulator.clock

    def account(self, name: str) -> SimulatedAccount:
        """The account of a name or key."""
        return self.simulator.account(name)


@contextmanager
def run_simulator(
    accounts: Sequence[AccountSettings],
    *,
    answers: AnswerSettings | None = None,
    now: dt.datetime | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[RunningSimulator]:
    """Serve accounts until the block ends.

    `answers` are the switches that every account starts with; `now` is an aware moment at which the
    simulator's clock stands, None follows real time; port 0 takes a free one.
    """
    simulator = Simulator(accounts, answers, now)
    server = SimulatorServer(simulator, host, port, is_logged=False)
    thread = threading.Thread(
        # The default of half a second would be spent at the end of every test.
        target=lambda: server.serve_forever(poll_interval=0.02),
        name="callkeeper-simulator",
    )
    thread.start()
    try:
        yield RunningSimulator(simulator, f"http://{host}:{server.server_address[1]}")
    finally:
        server.close()
        thread.join()
