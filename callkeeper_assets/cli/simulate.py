"""`callkeeper simulate`: the simulated CallKeeper alone, as a process of its own.

Its options are the settings of `callkeeper_assets.simulator.settings` and `webhook_settings`. The
same switches and the faults can be changed while it runs, over `/_simulator/` (see
`simulator/control.py`).
"""

import dataclasses
import datetime as dt
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from callkeeper_assets.simulator.settings import (
    AccountSettings,
    AnswerSettings,
    Fault,
    convert_record,
)
from callkeeper_assets.simulator.webhook_settings import WebhookSettings, mask_address

if TYPE_CHECKING:
    from callkeeper_assets.simulator.server import Simulator

Record = TypeVar("Record")

_DEFAULT_KEY: Final = "5f3c0d9a7b1e48c2a6d4f0e19b7c3a58"
_LOOK_FOR_SIGNALS_SEC: Final = 0.5
_TYPE_NOISE: Final = (("typing.", ""), ("Literal", ""), ("datetime.", ""))


def _list_fields(kind: type[object], without: str = "") -> str:
    """A record's fields with what each allows, for the help."""
    shown = []
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        if each.name == without:
            continue
        allowed = each.type.__name__ if isinstance(each.type, type) else str(each.type)
        for noise, plain in _TYPE_NOISE:
            allowed = allowed.replace(noise, plain)
        shown.append(f"{each.name}: {allowed}")
    return "; ".join(shown)


def _read_words(option: str, kind: type[Record], words: Mapping[str, object]) -> Record:
    try:
        return convert_record(kind, words, is_text=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _split(option: str, text: str, sign: str = "=") -> tuple[str, str]:
    name, between, value = text.partition(sign)
    if not between or not name.strip().isidentifier():
        # A URL in the wrong place may have a token in it.
        shown = "a URL" if "://" in text else f"'{text}'"
        raise typer.BadParameter(f"{shown} is not name{sign}value", param_hint=option)
    return name.strip(), value.strip()


def _read_accounts(texts: list[str], common: dict[str, str]) -> list[AccountSettings]:
    accounts = []
    for text in texts or [_DEFAULT_KEY]:
        key, *extras = text.split(",")
        words = {**common, "key": key, **dict(_split("--account", extra) for extra in extras)}
        accounts.append(_read_words("--account", AccountSettings, words))
    return accounts


def _read_faults(texts: list[str]) -> list[Fault]:
    faults = []
    for text in texts:
        kind, *extras = text.split(",")
        words: dict[str, object] = {"kind": kind}
        words |= dict(_split("--fault", extra) for extra in extras)
        if "methods" in words:
            words["methods"] = str(words["methods"]).split("+")
        faults.append(_read_words("--fault", Fault, words))
    return faults


def _read_webhooks(urls: list[str], texts: list[str], accounts: int) -> list[WebhookSettings]:
    """The settings of the accounts that have a URL, in the accounts' order."""
    if len(urls) > accounts:
        raise typer.BadParameter(
            f"{len(urls)} were given for {accounts} accounts", param_hint="--webhook-url"
        )
    words: dict[str, object] = {"live": "true", **dict(_split("--webhook", t) for t in texts)}
    if "names" in words:
        pairs = str(words["names"]).split("+")
        words["names"] = dict(_split("--webhook", pair, ":") for pair in pairs)
    if texts and not urls:
        raise typer.BadParameter("webhooks need a --webhook-url", param_hint="--webhook")
    return [
        _read_words("--webhook", WebhookSettings, {**words, "url": url})
        if url
        else WebhookSettings()
        for url in urls
    ]


def _read_now(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        now = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--now") from None
    return now if now.tzinfo else now.replace(tzinfo=dt.UTC)


def _serve(simulator: "Simulator", host: str, port: int, *, is_logged: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    from callkeeper_assets.simulator.server import SimulatorServer  # noqa: PLC0415

    try:
        server = SimulatorServer(simulator, host, port, is_logged=is_logged)
    except OSError as error:
        typer.echo(
            f"Cannot listen at {host}:{port}: {error.strerror}. Choose another --port.", err=True
        )
        raise typer.Exit(1) from None
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    thread = threading.Thread(target=server.serve_forever, name="callkeeper-simulator")
    thread.start()
    typer.echo(f"CallKeeper is simulated at http://{host}:{server.server_address[1]}")
    for account in simulator.accounts:
        settings = account.settings
        typer.echo(
            f"  {settings.name}: {settings.calls_per_day} calls a day since {settings.first_day},"
            f" {settings.time_zone}"
        )
        webhooks = account.webhooks.settings
        if webhooks.url:
            when = "as calls come and go" if webhooks.live else "on demand"
            typer.echo(f"    webhooks to {mask_address(webhooks.url)}, {when}")
    # A signal that the system gives to another thread does not wake this one from a lock, and only
    # this one runs handlers.
    while not stopping.wait(_LOOK_FOR_SIGNALS_SEC):
        pass
    server.close()
    thread.join()


# Apart, because their helps are longer than the command.
_Accounts = Annotated[
    list[str] | None,
    typer.Option(
        help="An account's key, with settings of its own: KEY or KEY,name=spb,calls_per_day=50;"
        f" many times for many accounts. Settings: {_list_fields(AccountSettings)}"
    ),
]
_Answers = Annotated[
    list[str] | None,
    typer.Option(
        help="A switch of the answers, as name=value; many times for many."
        f" Switches: {_list_fields(AnswerSettings)}"
    ),
]
_Faults = Annotated[
    list[str] | None,
    typer.Option(
        help="A fault, as kind or kind,probability=0.1,times=3; many times for many."
        " Methods are joined by a plus."
        f" Settings: {_list_fields(Fault)}"
    ),
]
_WebhookUrls = Annotated[
    list[str] | None,
    typer.Option(
        help="Where an account's webhooks go; many times for many, in the accounts' order;"
        " empty for one that sends none."
    ),
]
_WebhookSwitches = Annotated[
    list[str] | None,
    typer.Option(
        help="A switch of the webhooks, as name=value; many times for many. Unless live=false,"
        " they are sent when a call starts and when it settles. An owner's names are joined by"
        " a plus, as names=call_id:my_id+client_phone:tel."
        f" Switches: {_list_fields(WebhookSettings, without='url')}"
    ),
]


def simulate(
    *,
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8090,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    account: _Accounts = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same calls.")] = 1,
    calls_per_day: Annotated[int, typer.Option(help="Mean number of calls of a day.")] = 100,
    time_zone: Annotated[str, typer.Option(help="Zone of the business day.")] = "Europe/Moscow",
    first_day: Annotated[str, typer.Option(help="First day that has calls.")] = "2025-01-01",
    rhythm: Annotated[str, typer.Option(help="week, or flat: all days alike.")] = "week",
    now: Annotated[
        str | None, typer.Option(help="Moment at which the clock stands; unset: real time.")
    ] = None,
    answer: _Answers = None,
    fault: _Faults = None,
    webhook_url: _WebhookUrls = None,
    webhook: _WebhookSwitches = None,
    log: Annotated[bool, typer.Option(help="Print a line per request, without its query.")] = False,
) -> None:
    """Simulate CallKeeper, API and webhooks: no account is needed to try, show or test anything."""
    from callkeeper_assets.simulator.server import Simulator  # noqa: PLC0415

    common = {
        "seed": str(seed),
        "calls_per_day": str(calls_per_day),
        "time_zone": time_zone,
        "first_day": first_day,
        "rhythm": rhythm,
    }
    answers = _read_words(
        "--answer", AnswerSettings, dict(_split("--answer", text) for text in answer or [])
    )
    faults = _read_faults(fault or [])
    accounts = _read_accounts(account or [], common)
    webhooks = _read_webhooks(webhook_url or [], webhook or [], len(accounts))
    try:
        simulator = Simulator(accounts, answers, _read_now(now))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--account") from None
    for each in simulator.accounts:
        each.set_faults(*faults)
    for each, settings in zip(simulator.accounts, webhooks, strict=False):
        each.webhooks.configure(settings)
    _serve(simulator, host, port, is_logged=log)
