"""The day's installation: a source with many accounts, one machine that plans, two that work."""

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets_tests.alerts.receivers import HttpReceiver, run_receiver
from callkeeper_assets_tests.chaos.day.parts import (
    Clock,
    Disk,
    Keeper,
    Part,
    make_broker,
    make_cgroup,
    make_clock,
    make_disk,
    make_postgres,
    make_program,
    soon,
)
from callkeeper_assets_tests.chaos.day.source import ZONE, Source
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.workers.machines import write_dagster_yaml
from callkeeper_assets_tests.workers.object_store import BUCKET, ObjectStore

_MAIN: Final = "callkeeper_assets.cli.main"
_CALLS_PER_DAY: Final = 20
_TAIL: Final = 4000
_DATABASE_MB: Final = 3000
_MACHINE_MB: Final = 300
# Its key is refused from the beginning: the one alert that a person has to answer.
TROUBLED: Final = "troubled"
KEPT_DAYS: Final = 3
_RETENTION_MIN: Final = 3
# Daemon, receiver and alerts; workers.
MACHINES: Final = ("first", "second", "third")


@dataclass(frozen=True)
class Size:
    """How large the day is.

    Attributes:
        sources: Accounts, each a source of its own.
        rate: Webhooks a second.
        every_min: Minutes between two refreshes of a source, by its schedule.
        runs: At once on each of the two workers.
        is_warm: Whether our processes begin with all imported; then their clock cannot jump.
    """

    sources: int
    rate: float
    every_min: int
    runs: int
    is_warm: bool = False


@dataclass
class Plant:
    """All of it, running."""

    size: Size
    folder: Path
    keeper: Keeper
    source: Source
    installation: Installation
    alerts: HttpReceiver
    objects: ObjectStore
    disks: Mapping[str, Disk]
    names: list[str]
    retained: list[str]
    first_day: dt.date
    webhook_port: int
    ui_port: int
    cgroup: Path | None
    clock: Clock | None
    parts: dict[str, Part] = field(default_factory=dict)
    # Sources whose key was refused once, which has to be told.
    refused: set[str] = field(default_factory=set)

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]] | None:
        """Return a query's rows; None if the database does not answer within seconds."""
        try:
            with psycopg.connect(
                self.installation.database,
                connect_timeout=2,
                autocommit=True,
                application_name="chaos",
                options="-c statement_timeout=20s",
                tcp_user_timeout=3000,
            ) as connection:
                return connection.execute(sql, values).fetchall()
        except psycopg.Error:
            return None

    def health(self) -> dict[str, Any] | None:
        """Return what the receiver says of itself; None if it says nothing."""
        url = f"http://127.0.0.1:{self.webhook_port}/health"
        try:
            with urllib.request.urlopen(url, timeout=3) as answer:
                document: dict[str, Any] = json.load(answer)
        except (OSError, ValueError):
            return None
        return document


def _write_sources(
    plant_names: list[str], installation: Installation, url: str, every: int
) -> None:
    for number, name in enumerate(plant_names):
        installation.add_source(
            url, name=name, key=f"{number + 1:032x}", webhook_token=f"{name}-token-0123456789"
        )
        minute = f"{number % every}-59/{every}" if every > 1 else "*"
        # A reconciliation that failed has to come again before its all-clear is waited for in vain.
        later = f"{number % 20}-59/20"
        text = (
            f"  refresh: {{cron: '{minute} * * * *', overlap_days: 2}}\n"
            f"  reconciliation: {{cron: '{later} * * * *', days: 2}}\n"
        )
        file = installation.defs / name / "defs.yaml"
        file.write_text(file.read_text("utf-8") + text, "utf-8")


def _make_outside(plant: Plant, simulator_port: int, logs: Path) -> dict[str, Part]:
    """Return what is not ours: the source with its accounts, and the object store."""
    simulate = (_MAIN, "simulate", "--port", str(simulator_port), "--rhythm", "flat")
    accounts = [
        f"--account={number + 1:032x},name={name},calls_per_day={_CALLS_PER_DAY}"
        for number, name in enumerate(plant.names)
    ]
    store = ("callkeeper_assets_tests.workers.object_store", str(plant.objects.port), "0")
    words = {"source": (*simulate, *accounts), "objects": store}
    return {
        name: make_program(name, each, os.environ, logs / f"{name}.log")
        for name, each in words.items()
    }


def _make_disks(folder: Path) -> dict[str, Disk]:
    sizes = {"database": _DATABASE_MB, **dict.fromkeys(MACHINES, _MACHINE_MB)}
    return {name: make_disk(folder / name, mb) for name, mb in sizes.items()}


@contextmanager
def build_plant(size: Size) -> Iterator[Plant]:
    """Build and start everything; end and delete it after the block."""
    folder = Path(tempfile.mkdtemp(prefix="callkeeper-day-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=False)
        logs = folder / "logs"
        logs.mkdir()
        disks = _make_disks(folder)
        for disk in disks.values():
            stack.callback(disk.close)
        cgroup = make_cgroup(f"callkeeper-day-{os.getpid()}")
        if cgroup:
            stack.callback(_remove_cgroup, cgroup)
        keeper = stack.enter_context(Keeper())
        postgres, database = make_postgres(disks["database"], logs / "database.log")
        broker, broker_url = make_broker(folder / "broker", logs / "broker.log")
        simulator_port, objects = find_free_port(), ObjectStore(find_free_port())
        url = f"http://127.0.0.1:{simulator_port}"
        alerts = stack.enter_context(run_receiver())
        first = Installation(folder / "first" / "home", folder / "defs", database)
        first.variables.update(objects.variables)
        clock = None if size.is_warm else make_clock(folder)
        if clock:
            faked = {"LD_PRELOAD": str(clock.library), "CLOCK_AHEAD": str(clock.file)}
            first.variables.update(faked)
            postgres.environment = {**os.environ, **faked}
        first.variables["CALLKEEPER_ALERT_WEBHOOK_URL"] = alerts.url
        first.variables["CALLKEEPER_BROKER_URL"] = broker_url
        names = [f"source_{number}" for number in range(1, size.sources)] + [TROUBLED]
        _write_sources(names, first, url, size.every_min)
        first.variables["DAGSTER_HOME"] = str(write_dagster_yaml(folder / "dagster", 2 * size.runs))
        plant = Plant(
            size,
            folder,
            keeper,
            Source(url),
            first,
            alerts,
            objects,
            disks,
            names,
            names[: max(1, size.sources // 30)],
            dt.datetime.now(ZONE).date() - dt.timedelta(1),
            find_free_port(),
            find_free_port(),
            cgroup,
            clock,
        )
        plant.parts = {
            **_make_outside(plant, simulator_port, logs),
            "database": postgres,
            "broker": broker,
        }
        for part in plant.parts.values():
            keeper.add(part)
        soon(lambda: is_listening(simulator_port), "the source listens")
        soon(lambda: is_listening(objects.port), "the object store listens")
        soon(lambda: plant.ask("SELECT 1"), "the database answers")
        try:
            objects.open_client().create_bucket(Bucket=BUCKET)
            set_trouble(plant, TROUBLED, is_there=True)
            _load_old_days(plant)
            _start_machines(plant, logs)
            _point_webhooks(plant)
            yield plant
        except BaseException:
            _show_logs(folder)
            raise


def _show_logs(folder: Path) -> None:
    logs = [*(folder / "logs").iterdir(), *folder.glob("*/*/logs/worker/*.log")]
    for log in logs:
        print(f"--- {log}\n{log.read_text(errors='replace')[-_TAIL:]}", file=sys.stderr)


def _remove_cgroup(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _load_old_days(plant: Plant) -> None:
    """Load days that retention has to delete: the sources keep them no longer from now on."""
    today = dt.datetime.now(ZONE).date()
    ended = plant.installation.load(
        today - dt.timedelta(KEPT_DAYS + 3), today - dt.timedelta(KEPT_DAYS + 1), *plant.retained
    )
    assert ended.code == 0, ended
    for name in plant.retained:
        file = plant.installation.defs / name / "defs.yaml"
        every = min(_RETENTION_MIN, plant.size.every_min)
        text = f"  retention: {{cron: '*/{every} * * * *', keep_days: {KEPT_DAYS}}}\n"
        file.write_text(file.read_text("utf-8") + text, "utf-8")


def _start_machines(plant: Plant, logs: Path) -> None:
    first = plant.installation
    ports = ("--webhook-port", str(plant.webhook_port), "--metrics-port", str(find_free_port()))
    words = ("up", "--port", str(plant.ui_port), "--grace", "10", *ports)
    plant.parts["first"] = make_program(
        "first",
        (_MAIN, *words),
        first.environment,
        logs / "first.log",
        home=first.home,
        is_warm=plant.size.is_warm,
    )
    for name in MACHINES[1:]:
        home = plant.folder / name / "home"
        environment = {**first.environment, "CALLKEEPER_HOME": str(home)}
        plant.parts[name] = make_program(
            name,
            (_MAIN, "worker", "--runs", str(plant.size.runs), "--grace", "5"),
            environment,
            logs / f"{name}.log",
            home=home,
            cgroup=plant.cgroup if name == "third" else None,
            is_warm=plant.size.is_warm,
        )
    for name in MACHINES:
        plant.keeper.add(plant.parts[name])
    soon(lambda: (plant.health() or {}).get("database") == "reachable", "the receiver is up")
    soon(partial(_has_words, logs / "first.log", "Up. "), "all is up", 180)
    for name in MACHINES[1:]:
        taker = plant.folder / name / "home" / "logs" / "worker" / "taker.log"
        soon(partial(_has_words, taker, "Connected to"), "a worker waits for runs")


def _has_words(log: Path, words: str) -> bool:
    return words in log.read_text("utf-8")


def set_trouble(plant: Plant, name: str, *, is_there: bool) -> None:
    """Have the source refuse a key, or take it again."""
    if is_there:
        plant.refused.add(name)
    refusal = "wrong_key" if is_there else "none"
    plant.source.control("answers", {"account": name, "refusal": refusal})


def _point_webhooks(plant: Plant) -> None:
    base = f"http://127.0.0.1:{plant.webhook_port}/webhooks"
    for name in plant.names:
        body = {"account": name, "url": f"{base}/{name}/{name}-token-0123456789"}
        plant.source.control(
            "webhooks", {**body, "tries": 100_000, "retry_wait_sec": 0.5, "connections": 2}
        )
