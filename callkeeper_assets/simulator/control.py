"""Control over HTTP, under `/_simulator/`, for other processes: benchmarks, fault tests, the demo.

`GET` tells, `POST` (a JSON object) changes; the fields are those of `Account`'s methods and of the
settings. No key is asked for. `account` is an account's name or key and may be left out while there
is only one.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.answers import Answer
from callkeeper_assets.simulator.changes import Change, ChangedField
from callkeeper_assets.simulator.deliveries import Delivery
from callkeeper_assets.simulator.settings import (
    AccountSettings,
    AnswerSettings,
    Fault,
    convert_record,
)
from callkeeper_assets.simulator.simulator import Simulator
from callkeeper_assets.simulator.truth import ApiName
from callkeeper_assets.simulator.webhook_settings import (
    EVENTS,
    WebhookEvent,
    WebhookSettings,
    describe_webhooks,
    mask_address,
)

Request = Mapping[str, Any]

PREFIX: Final = "/_simulator/"


def _render(status: int, value: object) -> Answer:
    return Answer(status, (msgspec.json.encode(value),))


def _day(request: Request, name: str) -> dt.date:
    if not request.get(name):
        raise ValueError(f"{name} is missing: a day as 2026-01-31")
    return dt.date.fromisoformat(str(request[name]))


def _accounts(simulator: Simulator, request: Request) -> list[Account]:
    """The named account, or all."""
    return [simulator.account(request["account"])] if request.get("account") else simulator.accounts


def _account(simulator: Simulator, request: Request) -> Account:
    accounts = _accounts(simulator, request)
    if len(accounts) != 1:
        raise ValueError(f"account is missing: the simulator has {len(accounts)}")
    return accounts[0]


def _describe(account: Account) -> dict[str, Any]:
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


def _get_accounts(simulator: Simulator, _: Request) -> object:
    return [_describe(account) for account in simulator.accounts]


def _get_truth(simulator: Simulator, request: Request) -> object:
    return _account(simulator, request).truth(
        _day(request, "from"),
        _day(request, "to"),
        request.get("time_zone") or None,
        has_calls=request.get("calls", "1") not in ("0", "false"),
        api=msgspec.convert(request.get("api", "callkeeper"), ApiName),
    )


def _post_account(simulator: Simulator, request: Request) -> object:
    return _describe(simulator.add_account(convert_record(AccountSettings, request)))


def _post_answers(simulator: Simulator, request: Request) -> object:
    switches = {name: value for name, value in request.items() if name != "account"}
    accounts = _accounts(simulator, request)
    for account in accounts:
        account.configure(
            convert_record(AnswerSettings, {**dataclasses.asdict(account.answers), **switches})
        )
    return [dataclasses.asdict(account.answers) for account in accounts]


def _post_faults(simulator: Simulator, request: Request) -> object:
    faults = [convert_record(Fault, fault) for fault in request.get("faults", [])]
    for account in _accounts(simulator, request):
        account.set_faults(*faults)
    return [dataclasses.asdict(fault) for fault in faults]


def _post_clock(simulator: Simulator, request: Request) -> object:
    now = request.get("now")
    simulator.clock.set(dt.datetime.fromisoformat(now) if now else None)
    return {"now": dt.datetime.fromtimestamp(simulator.clock.now(), dt.UTC)}


def _post_warm(simulator: Simulator, request: Request) -> object:
    first, last = _day(request, "from"), _day(request, "to")
    api = msgspec.convert(request.get("api", "callkeeper"), ApiName)
    return {"calls": sum(a.warm(first, last, api) for a in _accounts(simulator, request))}


def _post_change(simulator: Simulator, request: Request) -> list[Change]:
    column = request.get("column")
    return _account(simulator, request).change(
        _day(request, "day"),
        int(request.get("count", 1)),
        column=None if column is None else msgspec.convert(column, ChangedField),
        value=request.get("value"),
        call_ids=request.get("call_ids", ()),
    )


def _post_add(simulator: Simulator, request: Request) -> list[Change]:
    return _account(simulator, request).add(_day(request, "day"), int(request.get("count", 1)))


def _post_remove(simulator: Simulator, request: Request) -> list[Change]:
    return _account(simulator, request).remove(
        _day(request, "day"), int(request.get("count", 1)), call_ids=request.get("call_ids", ())
    )


def _post_hold(simulator: Simulator, request: Request) -> list[Change]:
    return _account(simulator, request).hold(
        _day(request, "day"), int(request.get("count", 1)), code=int(request.get("code", 1))
    )


def _post_finalise(simulator: Simulator, request: Request) -> list[Change]:
    day = _day(request, "day") if request.get("day") else None
    return [each for account in _accounts(simulator, request) for each in account.finalise(day)]


def _describe_delivery(delivery: Delivery, *, has_payload: bool = False) -> dict[str, Any]:
    """A delivery without its address's path: whoever reads it could send webhooks himself."""
    shown = {each.name: getattr(delivery, each.name) for each in dataclasses.fields(delivery)}
    payload = {"payload": delivery.payload.decode()} if has_payload else {}
    return {**shown, "address": mask_address(delivery.address), "payload": None, **payload}


def _get_deliveries(simulator: Simulator, request: Request) -> object:
    deliveries = _account(simulator, request).list_deliveries(
        [int(each) for each in str(request.get("call_ids", "")).split(",") if each],
        int(request.get("after", 0)),
    )
    has_payload = request.get("payloads", "0") not in ("0", "false")
    return [_describe_delivery(each, has_payload=has_payload) for each in deliveries]


def _post_webhooks(simulator: Simulator, request: Request) -> object:
    switches = {name: value for name, value in request.items() if name != "account"}
    accounts = _accounts(simulator, request)
    for account in accounts:
        now = dataclasses.asdict(account.webhooks.settings)
        account.webhooks.configure(convert_record(WebhookSettings, {**now, **switches}))
    return [describe_webhooks(account.webhooks.settings) for account in accounts]


def _post_send(simulator: Simulator, request: Request) -> object:
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


_ACTIONS: Final[dict[tuple[str, str], Callable[[Simulator, Request], object]]] = {
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
