"""The demo: a home of its own, two simulated accounts, what happens to their calls in turn."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.cli.console import (
    FAILED,
    build_table,
    name_program,
    open_console,
    print_error,
    print_table,
    print_text,
)
from callkeeper_assets.cli.loading import count_calls, register_keys, run_and_show
from callkeeper_assets.cli.processes import (
    SourceOutcome,
    Task,
    read_tail,
    start_child,
    stop_children,
)
from callkeeper_assets.cli.runs import print_retained
from callkeeper_assets.cli.serving import (
    WebAddress,
    find_free_port,
    held_alone,
    is_listening,
    list_source_lines,
    print_greeting,
    serve,
)
from callkeeper_assets.cli.summary import Reconciled, print_reconciled, print_summary
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.home import find_project, home, make_folder, raw_url, set_dagster_home
from callkeeper_assets.language import look_up, say_number, tr
from callkeeper_assets.local_time import open_zone
from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.postgres.url import connect, database_url
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.warehouse.grants import open_reader
from callkeeper_assets.warehouse.tables import TABLES

_FOR_REAL_DATA: Final = (
    "DAGSTER_HOME",
    "CALLKEEPER_DATABASE_URL",
    "CALLKEEPER_RAW_URL",
    "DAGSTER_PROJECT_ENV_FILE_PATHS",
)
_DEFS: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  caption: {caption}
  api_key: {{env: {variable}}}
  webhook: {{token: {{env: {token_variable}}}}}
  # The simulator, for as long as the demo runs.
  base_url: {base_url}
  time_zone: {time_zone}
  start_date: {first}
{more}"""
_REPORT: Final = "calls_by_campaign"
_OF_STATISTICS: Final = f"""\
  reports:
    - name: {_REPORT}
      fields:
        id: id
        date: date
        campaign: visit_info.current.utm_campaign || visit_info.current.cmp
        talk_sec: duration2_sec
        tags: tags
"""
_OF_UNIFIED: Final = """\
  api: ckct
  privacy: {phones: mask, manager_phones: keep}
"""
# Of calls; and attempts of orders that failed.
_MADE: Final = "made.json"
_RETURNING: Final = 0.25
_CALLTRACKING: Final = 0.3
# Within the overlap that a refresh reads again.
_DAYS_BACK: Final = (1, 2)
# Calls of a day whose rows are broken, for reconciliation to find.
_BROKEN: Final = 4

# Each has two webhooks, one when it starts and one after it.
_CALLS: Final = 6
_LOOK_SEC: Final = 0.05
_LONGEST_SEC: Final = 60.0
_GRACE_SEC: Final = 5.0


def print_loaded() -> None:
    """Print how many rows each table has that has any, and what it holds a row for."""
    table = build_table("Table", "Rows", "One row for each", numeric=("Rows",))
    with connect(autocommit=True) as connection:
        for declared in TABLES.values():
            query = f"SELECT count(*) FROM {declared.name}"  # noqa: S608 -- a declared name
            row = connection.execute(query.encode()).fetchone()
            if row and row[0]:
                table.add_row(declared.name, say_number(int(str(row[0]))), look_up(declared.grain))
    print_table(table)


def print_first_question(url: str) -> None:
    """Print a query as a BI tool would send it, and what comes back.

    Args:
        url: For BI.
    """
    query = read_sql_of("callkeeper_assets.cli")("demo_cities")
    print_text(f"{query}\n")
    numeric = ("Calls", "Answered, %", "Mean talk, s")
    table = build_table("City", "Calls", "Answered, %", "Mean talk, s", numeric=numeric)
    with connect(url, autocommit=True) as connection:
        for row in connection.execute(query.encode()):
            table.add_row(*("" if value is None else str(value) for value in row))
    print_table(table)


def describe_raw() -> str:
    """Say where raw calls lie, and how many files and bytes they are."""
    sizes = [file.stat().st_size for file in Path(raw_url()).rglob("*.parquet")]
    return tr(
        "{place} ({count} days, {size:,.1f} MB)",
        place=raw_url(),
        count=len(sizes),
        size=sum(sizes) / 1e6,
    )


_PROJECT: Final = """\
project = {name = "demo", version = "0", dependencies = ["callkeeper-assets"]}
tool.dg.project = {root_module = "demo", defs_module = "defs"}
"""


@dataclass(frozen=True)
class DemoSource:
    """One of the demo's sources; `share` is of the calls a day that were asked for.

    Attributes:
        api: which of CallKeeper's APIs it has; with the unified one, call tracking as well.
    """

    name: str
    caption: str
    time_zone: str
    seed: int
    share: float
    api: ApiName

    @property
    def variable(self) -> str:
        """The environment variable of its key."""
        return f"{self.name.upper()}_API_KEY"

    @property
    def token_variable(self) -> str:
        """The environment variable of its webhooks' token."""
        return f"{self.name.upper()}_WEBHOOK_TOKEN"


SOURCES: Final = (
    DemoSource("moscow_office", "Офис в Москве", "Europe/Moscow", 11, 1.0, "callkeeper"),
    DemoSource(
        "yekaterinburg_clinic", "Клиника в Екатеринбурге", "Asia/Yekaterinburg", 12, 0.7, "ckct"
    ),
)


@dataclass(frozen=True)
class Period:
    """Days of the demo, both included: they have begun in each source's time zone."""

    first: date
    last: date

    @property
    def kept_days(self) -> int:
        """How many days before today are kept at the end: all but the first, if there are more."""
        return max(0, (self.last - self.first).days - 1)


@dataclass(frozen=True)
class Touched:
    """Calls of one account that the simulator changed afterwards."""

    source: str
    changed: int
    added: int
    removed: int


def enter_home() -> None:
    """Let this process and its children live in the demo's home from now on."""
    for name in _FOR_REAL_DATA:
        os.environ.pop(name, None)
    make_folder(home())  # the demo's own lies in it, and only who made it may enter
    os.environ["CALLKEEPER_HOME"] = str(home() / "demo")
    os.environ["CALLKEEPER_DEFS"] = str(home() / "defs")
    set_dagster_home()
    for source in SOURCES:
        # As long as keys of its API are.
        os.environ[source.variable] = secrets.token_hex(8 if source.api == "ckct" else 16)
        os.environ[source.token_variable] = secrets.token_urlsafe(24)


def choose_period(days: int) -> Period:
    """Return so many days up to today."""
    last = min(datetime.now(open_zone(source.time_zone)).date() for source in SOURCES)
    return Period(last - timedelta(days=days - 1), last)


@contextmanager
def run_demo_simulator(calls_per_day: int, period: Period) -> Iterator[RunningSimulator]:
    """Simulate the accounts; the clock stands, so that only what the demo changes is different."""
    accounts = [
        AccountSettings(
            key=os.environ[source.variable],
            name=source.name,
            time_zone=source.time_zone,
            calls_per_day=max(1, round(calls_per_day * source.share)),
            seed=source.seed,
            first_day=period.first,
            calltracking_per_day=round(calls_per_day * source.share * _CALLTRACKING)
            if source.api == "ckct"
            else 0,
            returning=_RETURNING,
        )
        for source in SOURCES
    ]
    with run_simulator(accounts, now=datetime.now(UTC)) as simulator:
        yield simulator


def write_sources(base_url: str, period: Period) -> None:
    """Write the sources' `defs.yaml`."""
    for source in SOURCES:
        folder = home() / "defs" / source.name
        make_folder(folder)
        text = _DEFS.format(
            caption=source.caption,
            variable=source.variable,
            token_variable=source.token_variable,
            base_url=f"{base_url}/api/" if source.api == "ckct" else base_url,
            time_zone=source.time_zone,
            first=period.first,
            more=_OF_UNIFIED if source.api == "ckct" else _OF_STATISTICS,
        )
        (folder / "defs.yaml").write_text(text, encoding="utf-8")


def add_retention(period: Period) -> None:
    """Have the last source keep all days but the first."""
    file = home() / "defs" / SOURCES[-1].name / "defs.yaml"
    with file.open("a", encoding="utf-8") as defs:
        defs.write(f"  retention: {{keep_days: {period.kept_days}}}\n")


def begin_afresh() -> bool:
    """Remove what an earlier demo left; return whether there was any.

    The data folder stays, as it takes seconds to make; the database in it is made anew.

    Raises:
        DatabaseError: The embedded database does not start.
    """
    was_there = (home() / "defs").exists()
    (home() / _MADE).unlink(missing_ok=True)
    for name in ("raw", "defs", "logs"):
        shutil.rmtree(home() / name, ignore_errors=True)
    url = database_url()
    if was_there:
        server, _, name = url.rpartition("/")
        with connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
    return was_there


def touch_calls(account: SimulatedAccount, last: date) -> Touched:
    """Change, add and remove a few calls of yesterday and the day before."""
    changed = added = removed = 0
    for back in _DAYS_BACK:
        day = last - timedelta(days=back)
        if day < account.settings.first_day:
            continue
        few = account.truth(day, day, has_calls=False).count // 10
        # In this order no call is touched twice.
        removed += len(account.remove(day, min(1, few)))
        changed += len({each.call_id for each in account.change(day, few)})
        added += len(account.add(day, 2))
    return Touched(account.settings.name, changed, added, removed)


def break_rows(source: str, day: date) -> int:
    """Change and delete a few of a source's rows behind the loader's back; return how many calls.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    read_sql = read_sql_of("callkeeper_assets.cli")
    with connect() as connection:
        found = connection.execute(
            read_sql("demo_calls_of_day"),
            {"source": source, "day": day, "count": _BROKEN},
        ).fetchall()
        for position, (account_id, call) in enumerate(found):
            action = "delete" if position % 2 else "change"
            connection.execute(
                read_sql(f"demo_{action}_call"), {"account_id": account_id, "id": call}
            )
    return len(found)


@dataclass(frozen=True)
class Sent:
    """What one account sent; all of it was accepted."""

    source: str
    calls: int
    webhooks: int
    repeats: int


def set_webhook_url(account: SimulatedAccount, source: DemoSource, receiver: WebAddress) -> None:
    """Set where an account's webhooks go, as its owner does in CallKeeper's cabinet."""
    token = os.environ[source.token_variable]
    account.set_webhooks(url=f"{receiver.url}/webhooks/{source.name}/{token}")


@contextmanager
def run_demo_receiver(address: WebAddress) -> Iterator[None]:
    """Run `callkeeper webhooks` as a process.

    Raises:
        RuntimeError: It does not start; with the end of its log.
    """
    log = home() / "logs" / "webhooks.log"
    make_folder(log.parent)
    arguments = ["-m", "callkeeper_assets.cli.main", "webhooks"]
    arguments += ["--host", address.host, "--port", str(address.port)]
    with log.open("ab") as file:
        process = start_child(arguments, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _LONGEST_SEC
        while not is_listening(address.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    tr(
                        "The webhook receiver does not start:\n{tail}",
                        tail=read_tail(log),
                    )
                )
            time.sleep(_LOOK_SEC)
        yield
    finally:
        stop_children([process], _GRACE_SEC)


def send_webhooks(account: SimulatedAccount, day: date) -> Sent:
    """Let new calls of a day come, and send their webhooks: some twice, some in the wrong order.

    Raises:
        RuntimeError: The receiver did not accept one.
    """
    account.set_webhooks(duplicate=0.3, wrong_order=0.3)
    deliveries = account.send_webhooks(day, new=_CALLS)
    refused = [each for each in deliveries if not each.is_accepted]
    if refused:
        said = refused[0].status or refused[0].problem
        raise RuntimeError(tr("The webhook receiver answered {said} to a webhook.", said=said))
    return Sent(
        source=account.settings.name,
        calls=len({each.call_id for each in deliveries}),
        webhooks=len(deliveries),
        repeats=sum(each.is_duplicate for each in deliveries),
    )


def lose_webhooks(account: SimulatedAccount, day: date) -> None:
    """Let one more call come, whose webhooks are lost on their way: CallKeeper believes in them."""
    account.set_webhooks(duplicate=0.0, wrong_order=0.0, loss=1.0)
    account.send_webhooks(day, new=1)
    account.set_webhooks(loss=0.0)


@dataclass(frozen=True)
class DemoOptions:
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


def _make_project() -> None:
    """Make the demo's home a project, so that commands that are typed in it find all of it."""
    (home() / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")
    variables = [name for one in SOURCES for name in (one.variable, one.token_variable)]
    file = home() / ".env"
    file.touch(mode=0o600)
    lines = [f"{name}={os.environ[name]}\n" for name in variables]
    file.write_text("".join(["CALLKEEPER_HOME=.\n", *lines]), encoding="utf-8")


def note_made(options: DemoOptions, period: Period) -> None:
    """Note what a demo has made when it is whole, with the keys that its calls follow from."""
    document = {
        "asked": [options.days, options.calls_per_day, str(period.last)],
        "keys": {source.variable: os.environ[source.variable] for source in SOURCES},
    }
    file = home() / _MADE
    file.touch(mode=0o600)
    file.write_text(json.dumps(document), encoding="utf-8")


def take_up_made(options: DemoOptions, period: Period) -> bool:
    """Return whether a demo of today has made what is asked for; its keys are used from then on."""
    try:
        document = json.loads((home() / _MADE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    if document["asked"] != [options.days, options.calls_per_day, str(period.last)]:
        return False
    os.environ.update(document["keys"])
    return True


def run_demo(options: DemoOptions) -> None:
    """Run the demo; or, to be served, show what one of today has made.

    Raises:
        DatabaseError: The embedded database does not start.
        SystemExit: A load failed, or was interrupted; that is said.
        KeyboardInterrupt: The serving was stopped.
    """
    with _demo_home():
        period = choose_period(options.days)
        is_made = options.address is not None and take_up_made(options, period)
        with run_demo_simulator(options.calls_per_day, period) as simulator:
            if is_made:
                print_text(tr("This is what the demo has made today."))
                write_sources(simulator.base_url, period)
                if period.kept_days:
                    add_retention(period)
                register_keys(load_sources()[0])
            else:
                _load(simulator, period)
                note_made(options, period)
            _make_project()
            _show_end(options, is_made=is_made)
            if options.address:
                # New calls come in from now on, as they would.
                simulator.clock.set(None)
                lines = list_source_lines()
                address, receiver, url = options.address, options.receiver, database_url()
                if receiver:
                    _send_live(simulator, receiver)
                print_text(tr("Starting Dagster; this takes some seconds."))
                greet = partial(print_greeting, address, receiver, url, lines, _type_inside())
                serve(address, receiver, greet)


def _load(simulator: RunningSimulator, period: Period) -> None:
    if begin_afresh():
        print_text(
            tr("What an earlier demo left is removed; this one begins with an empty database.")
        )
    write_sources(simulator.base_url, period)
    register_keys(load_sources()[0])
    _say_step(
        1,
        tr(
            "CallKeeper is simulated at {base_url}, with two accounts:", base_url=simulator.base_url
        ),
    )
    for source in SOURCES:
        calls = simulator.account(source.name).settings.calls_per_day
        print_text(
            tr(
                "   {name} ({caption}), {time_zone}, {calls} calls a day",
                name=source.name,
                caption=source.caption,
                time_zone=source.time_zone,
                calls=calls,
            )
        )
    days = tr("{first} to {last}", first=period.first, last=period.last)
    _say_step(2, tr("Historic load: {days}, each account in a Dagster run of its own", days=days))
    _run("--from", period.first.isoformat(), "--to", period.last.isoformat())
    _say_step(3, tr("Refresh, as the schedule does each day: nothing is new, so no row changes"))
    _run("--refresh")
    _receive_webhooks(simulator, period.last)
    touched = [touch_calls(simulator.account(s.name), period.last) for s in SOURCES]
    _say_step(5, tr("Calls change at the source, one day or two late:"))
    for each in touched:
        print_text(f"   {_describe_touched(each)}")
    _say_step(
        6, tr("Refresh: these calls change here, and the API's records replace the webhooks'")
    )
    _run("--refresh")
    _name_lost_webhooks()
    _reconcile(period.last - timedelta(days=1))
    _build_report(period)
    _delete_old_calls(period)


def _send_live(simulator: RunningSimulator, receiver: WebAddress) -> None:
    for source in SOURCES:
        account = simulator.account(source.name)
        set_webhook_url(account, source, receiver)
        account.set_webhooks(live=True)


def _receive_webhooks(simulator: RunningSimulator, day: date) -> None:
    _say_step(
        4, tr("Calls come in, and CallKeeper sends webhooks: the receiver keeps them at once")
    )
    receiver = WebAddress("127.0.0.1", find_free_port())
    with run_demo_receiver(receiver):
        for source in SOURCES:
            account = simulator.account(source.name)
            set_webhook_url(account, source, receiver)
            sent = send_webhooks(account, day)
            print_text(
                tr(
                    "   {source}: {webhooks} webhooks of {calls} calls, {repeats} of them a "
                    "second time; all accepted",
                    source=sent.source,
                    webhooks=sent.webhooks,
                    calls=sent.calls,
                    repeats=sent.repeats,
                )
            )
        lose_webhooks(simulator.account(SOURCES[-1].name), day)
    _run("--inbox")


def _reconcile(day: date) -> None:
    source = SOURCES[0].name
    broken = break_rows(source, day)
    _say_step(
        8,
        tr(
            "Somebody breaks rows of {broken} calls in the tables: reconciliation heals them",
            broken=broken,
        ),
    )
    days = ("--from", day.isoformat(), "--to", day.isoformat())
    (outcome,) = run_and_show([Task(source, ("--reconcile", *days))])
    (chosen,) = [each for each in load_sources()[0] if each.name == source]
    result = Reconciled(
        outcome=outcome, is_dry_run=False, heals=True, left_alone=0, file=chosen.file
    )
    print_text()
    print_reconciled(result)
    _stop_if_failed([outcome])


def _name_lost_webhooks() -> None:
    _say_step(
        7, tr("Webhooks got lost on their way: CallKeeper lists what it sent, an audit compares")
    )
    print_text()
    table = build_table("Source", "Call", "Event")
    query = read_sql_of("callkeeper_assets.cli")("demo_lost_webhooks")
    with connect(autocommit=True) as connection:
        for row in connection.execute(query.encode()):
            table.add_row(*map(str, row))
    print_table(table)
    print_text(tr("Nothing has to be repaired: the call itself came by the API."))


def _run_one(source: DemoSource, *arguments: str) -> SourceOutcome:
    outcomes = run_and_show([Task(source.name, arguments)])
    _stop_if_failed(outcomes)
    return outcomes[0]


def _build_report(period: Period) -> None:
    source = SOURCES[0]
    _say_step(
        9,
        tr("A report of one's own, from raw calls that are there: {report}", report=_REPORT),
    )
    days = ("--from", period.first.isoformat(), "--to", period.last.isoformat())
    outcome = _run_one(source, "--report", _REPORT, *days)
    print_text()
    print_summary([outcome], {})


def _delete_old_calls(period: Period) -> None:
    """Keep a source's newest days; what is older goes from everywhere."""
    source, keep = SOURCES[-1], period.kept_days
    if not keep:
        return
    _say_step(
        10,
        tr("{source} keeps {keep} days from now on: older calls go", source=source.name, keep=keep),
    )
    add_retention(period)
    print_retained(_run_one(source, "--retain"), dry_run=False)


def _describe_touched(each: Touched) -> str:
    return tr(
        "{source}: {changed} changed, {added} appeared, {removed} vanished",
        source=each.source,
        changed=each.changed,
        added=each.added,
        removed=each.removed,
    )


def _say_step(number: int | None, text: str) -> None:
    print_text()
    open_console().print(text if number is None else f"{number}. {text}", style="bold")


def _run(*arguments: str) -> None:
    tasks = [Task(source.name, arguments) for source in SOURCES]
    outcomes = run_and_show(tasks)
    print_text()
    print_summary(outcomes, count_calls(outcomes))
    _stop_if_failed(outcomes)


def _stop_if_failed(outcomes: Sequence[SourceOutcome]) -> None:
    if any(outcome.errors for outcome in outcomes):
        print_error(tr("The demo stops here: a run failed, which should not happen. Report it."))
        raise SystemExit(FAILED)


def _show_end(options: DemoOptions, *, is_made: bool) -> None:
    _say_step(None if is_made else 11, tr("What is loaded now"))
    print_text()
    print_loaded()
    _say_step(None if is_made else 12, tr("A first question, as a BI tool would ask it"))
    print_text()
    reader = open_reader(database_url(), home() / "postgres")
    print_first_question(reader)
    _print_pairs(
        (
            (tr("For BI"), reader),
            (tr("Raw calls"), describe_raw()),
            (tr("Sources"), str(home() / "defs")),
        )
    )
    typed, inside = name_program(), _type_inside()
    print_text(tr("A question of your own:  {typed} query 'TABLE calls LIMIT 3'", typed=inside))
    if options.address is None:
        print_text(
            tr("The database has stopped with the demo. To look at all of it in Dagster's UI")
        )
        own = (
            tr("add main_office, then {typed} dev", typed=typed)
            if find_project()
            else "init my-calls"
        )
        print_text(tr("and in your own BI tool, until Ctrl-C:  {typed} demo --serve", typed=typed))
        print_text(tr("With your own account:  {typed} {own}", typed=typed, own=own))


def _type_inside() -> str:
    """Return how a command for the demo's home is begun in the working folder."""
    folder = os.path.relpath(home()) if home().is_relative_to(Path.cwd()) else str(home())
    return f"{name_program()} --project {shlex.quote(folder)}"


def _print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print_text(f"{name + ':':<{width + 1}} {value}")
    print_text()
