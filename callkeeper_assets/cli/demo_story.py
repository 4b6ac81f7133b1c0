"""The demo, step by step: load a month, refresh, let the source change, refresh, look."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from callkeeper_assets.cli.console import open_console, print_error, print_text
from callkeeper_assets.cli.demo_results import describe_raw, print_first_question, print_loaded
from callkeeper_assets.cli.demo_world import (
    SOURCES,
    Period,
    Touched,
    begin_afresh,
    choose_period,
    enter_home,
    run_demo_simulator,
    touch_calls,
    write_sources,
)
from callkeeper_assets.cli.exits import FAILED
from callkeeper_assets.cli.greeting import list_source_lines, print_greeting
from callkeeper_assets.cli.loading import count_calls, register_keys, run_and_show
from callkeeper_assets.cli.serving import WebAddress, held_alone, serve
from callkeeper_assets.cli.summary import print_summary
from callkeeper_assets.cli.workers import Task
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
    touched = [touch_calls(simulator.account(s.name), period.last) for s in SOURCES]
    _say_step(4, "Calls change at the source, one day or two late:")
    for each in touched:
        print_text(f"   {_describe_touched(each)}")
    _say_step(5, "Refresh: exactly these calls change here")
    _run("--refresh")


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
    if any(outcome.errors for outcome in outcomes):
        print_error("The demo stops here: a load failed, which should not happen. Report it.")
        raise SystemExit(FAILED)


def _show_end(wishes: DemoWishes) -> None:
    _say_step(6, "What is loaded now")
    print_text()
    print_loaded()
    _say_step(7, "A first question, as a BI tool would ask it")
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
