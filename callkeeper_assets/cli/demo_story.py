"""The demo, step by step: load, refresh, take webhooks, let things change, reconcile, look."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from callkeeper_assets.cli.console import open_console, print_error, print_text
from callkeeper_assets.cli.demo_results import describe_raw, print_first_question, print_loaded
from callkeeper_assets.cli.demo_webhooks import (
    run_receiver,
    send_webhooks,
    set_webhook_url,
)
from callkeeper_assets.cli.demo_world import (
    SOURCES,
    Period,
    Touched,
    begin_afresh,
    break_rows,
    choose_period,
    enter_home,
    run_demo_simulator,
    touch_calls,
    write_sources,
)
from callkeeper_assets.cli.exits import FAILED
from callkeeper_assets.cli.greeting import list_source_lines, print_greeting
from callkeeper_assets.cli.loading import count_calls, register_keys, run_and_show
from callkeeper_assets.cli.reconciliation_summary import Reconciled, print_reconciled
from callkeeper_assets.cli.serving import WebAddress, find_free_port, held_alone, serve
from callkeeper_assets.cli.summary import print_summary
from callkeeper_assets.cli.workers import Outcome, Task
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.database.url import database_url, describe
from callkeeper_assets.home import home
from callkeeper_assets.simulator.running import RunningSimulator


@dataclass(frozen=True)
class DemoWishes:
    """What was asked for; the addresses are None unless everything is to stay and be served."""

    days: int
    calls_per_day: int
    address: WebAddress | None
    receiver: WebAddress | None


@contextmanager
def _demo_home() -> Iterator[None]:
    enter_home()
    with held_alone(home() / "demo.lock", "callkeeper demo"):
        yield


def tell_demo(wishes: DemoWishes) -> None:
    """Run the demo.

    Raises:
        DatabaseError: The embedded database does not start.
        SystemExit: A load failed, or was interrupted; that is said.
        KeyboardInterrupt: The serving was stopped.
    """
    with _demo_home():
        period = choose_period(wishes.days)
        with run_demo_simulator(wishes.calls_per_day, period) as simulator:
            _load(simulator, period)
            _show_end(wishes)
            if wishes.address:
                # New calls come in from now on, as they would.
                simulator.clock.set(None)
                lines = list_source_lines()
                address, receiver, url = wishes.address, wishes.receiver, database_url()
                if receiver:
                    _send_live(simulator, receiver)
                print_text("Starting Dagster; this takes some seconds.")
                serve(address, receiver, lambda: print_greeting(address, receiver, url, lines))


def _load(simulator: RunningSimulator, period: Period) -> None:
    if begin_afresh():
        print_text("What an earlier demo left is removed; this one begins with an empty database.")
    write_sources(simulator.base_url, period)
    register_keys(load_sources()[0])
    _say_step(1, f"CallKeeper is simulated at {simulator.base_url}, with two accounts:")
    for source in SOURCES:
        calls = simulator.account(source.name).settings.calls_per_day
        print_text(f"   {source.name} ({source.caption}), {source.time_zone}, {calls} calls a day")
    days = f"{period.first} to {period.last}"
    _say_step(2, f"Historic load: {days}, each account in a Dagster run of its own")
    _run("--from", period.first.isoformat(), "--to", period.last.isoformat())
    _say_step(3, "Refresh, as the schedule does each day: nothing is new, so no row changes")
    _run("--refresh")
    _receive_webhooks(simulator, period.last)
    touched = [touch_calls(simulator.account(s.name), period.last) for s in SOURCES]
    _say_step(5, "Calls change at the source, one day or two late:")
    for each in touched:
        print_text(f"   {_describe_touched(each)}")
    _say_step(6, "Refresh: these calls change here, and the API's records replace the webhooks'")
    _run("--refresh")
    _reconcile(period.last - timedelta(days=1))


def _send_live(simulator: RunningSimulator, receiver: WebAddress) -> None:
    for source in SOURCES:
        account = simulator.account(source.name)
        set_webhook_url(account, source, receiver)
        account.set_webhooks(live=True)


def _receive_webhooks(simulator: RunningSimulator, day: date) -> None:
    _say_step(4, "Calls come in, and CallKeeper sends webhooks: the receiver keeps them at once")
    receiver = WebAddress("127.0.0.1", find_free_port())
    with run_receiver(receiver):
        for source in SOURCES:
            account = simulator.account(source.name)
            set_webhook_url(account, source, receiver)
            sent = send_webhooks(account, day)
            print_text(
                f"   {sent.source}: {sent.webhooks} webhooks of {sent.calls} calls, "
                f"{sent.repeats} of them a second time; all accepted"
            )
    _run("--inbox")


def _reconcile(day: date) -> None:
    source = SOURCES[0].name
    broken = break_rows(source, day)
    _say_step(7, f"Somebody breaks rows of {broken} calls in the tables: reconciliation heals them")
    days = ("--from", day.isoformat(), "--to", day.isoformat())
    (outcome,) = run_and_show([Task(source, ("--reconcile", *days))])
    (chosen,) = [each for each in load_sources()[0] if each.name == source]
    result = Reconciled(
        outcome=outcome, is_dry_run=False, heals=True, left_alone=0, file=chosen.file
    )
    print_text()
    print_reconciled(result)
    _stop_if_failed([outcome])


def _describe_touched(each: Touched) -> str:
    return f"{each.source}: {each.changed} changed, {each.added} appeared, {each.removed} vanished"


def _say_step(number: int, text: str) -> None:
    print_text()
    open_console().print(f"{number}. {text}", style="bold")


def _run(*arguments: str) -> None:
    tasks = [Task(source.name, arguments) for source in SOURCES]
    outcomes = run_and_show(tasks)
    print_text()
    print_summary(outcomes, count_calls(outcomes))
    _stop_if_failed(outcomes)


def _stop_if_failed(outcomes: Sequence[Outcome]) -> None:
    if any(outcome.errors for outcome in outcomes):
        print_error("The demo stops here: a run failed, which should not happen. Report it.")
        raise SystemExit(FAILED)


def _show_end(wishes: DemoWishes) -> None:
    _say_step(8, "What is loaded now")
    print_text()
    print_loaded()
    _say_step(9, "A first question, as a BI tool would ask it")
    print_text()
    print_first_question()
    _print_pairs(
        (
            ("Tables", describe(database_url())),
            ("Raw calls", describe_raw()),
            ("Sources", str(home() / "defs")),
        )
    )
    if wishes.address is None:
        print_text("The database has stopped with the demo. To look at all of it in Dagster's UI")
        print_text("and in your own BI tool, until Ctrl-C:  .venv/bin/callkeeper demo --serve")
        print_text("With your own account:  README.md, then .venv/bin/callkeeper dev")


def _print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        print_text(f"{name + ':':<11}{value}")
    print_text()
