"""All that `callkeeper dev` runs: idle, and with many schedules due in the same minute.

Each case runs in an installation of its own, whose database is empty, by the command that a person
types; the clock runs from the minute that is due until the last run has ended. A former build
takes part as a checkout of it, by turns with this one and by the same libraries.
"""

import datetime as dt
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import (
    OVERLAP_DAYS,
    Contender,
    enter_product,
)
from callkeeper_assets_tests.benchmarks.measure import TreeSampler, measure_cpu, measure_memory
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, TIME_ZONE, Stand, today

# What has been started must be at rest when the schedules are due; a busy machine takes a while.
_START_SEC: Final = 45
_POLL_SEC: Final = 0.5
_TIMEOUT_SEC: Final = 3600
_UNTIL_IDLE_SEC: Final = 45.0
_COUNT: Final = (
    "SELECT count(*) FILTER (WHERE status = 'SUCCESS'),"
    " count(*) FILTER (WHERE status IN ('FAILURE', 'CANCELED')), max(end_time)"
    " FROM dagster.runs"
)
_MEASURED: Final = (
    "seconds",
    "runs/minute",
    "CPU s a run",
    "server CPU s a run",
    "all processes MB",
)
_NEVER: Final = "0 0 29 2 *"


class DaemonError(RuntimeError):
    """What was started ended, a run failed, or the runs took too long."""


@dataclass(frozen=True)
class ServiceSizes:
    """What is measured.

    Attributes:
        sources: of each case, refreshed in one minute.
        calls_a_day: of each of these sources.
        idle_sec: how long two sources are watched while nothing is due; 0 leaves it out.
        rounds: how often builds that are compared are measured by turns; medians count.
        only_here: cases of so many sources and more leave the former build out.
    """

    sources: Sequence[int]
    calls_a_day: Sequence[int]
    idle_sec: float
    only_here: int
    rounds: int


@dataclass(frozen=True)
class _Build:
    name: str
    folder: Path


def _name_account(calls: int, number: int) -> str:
    return f"scheduled_{calls}_{number}"


def list_accounts(sizes: ServiceSizes) -> dict[str, int]:
    """The accounts that a stand needs, with the calls that each has a day."""
    return {
        _name_account(calls, number): calls
        for sources, calls in zip(sizes.sources, sizes.calls_a_day, strict=True)
        for number in range(sources)
    }


def _next_minute() -> dt.datetime:
    """A whole minute that everything will be ready for."""
    soon = dt.datetime.now(ZoneInfo(TIME_ZONE)) + dt.timedelta(seconds=_START_SEC)
    return soon.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)


@contextmanager
def _running(
    build: _Build, contender: Contender, *, is_embedded: bool = False
) -> Iterator["subprocess.Popen[str]"]:
    """Keep `callkeeper dev` while the block runs, which begins when it is ready.

    Raises:
        DaemonError: It has ended before.
    """
    environment = {**contender.environment(), "PYTHONPATH": str(build.folder)}
    if is_embedded:
        del environment["CALLKEEPER_DATABASE_URL"]
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "dev"]
    command += ["--port", str(find_free_port())]
    with (contender.folder / "dev.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=build.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            if not any(line.startswith("Stop:") for line in process.stdout):
                raise DaemonError(f"callkeeper dev ended; its log is {log.name}")
            yield process
        finally:
            process.terminate()
            process.communicate()


def _wait_a_moment(process: "subprocess.Popen[str]") -> None:
    time.sleep(_POLL_SEC)
    if process.poll() is not None:
        raise DaemonError(f"callkeeper dev ended with {process.returncode}")


def _wait_for_runs(
    contender: Contender, process: "subprocess.Popen[str]", runs: int, due: dt.datetime
) -> float:
    """Seconds from `due` until the last run has ended."""
    with connect(contender.database_url, autocommit=True) as connection:
        while time.time() < due.timestamp() + _TIMEOUT_SEC:
            _wait_a_moment(process)
            row = connection.execute(_COUNT).fetchone()
            assert row is not None
            succeeded, failed, ended_at = row
            if failed:
                raise DaemonError(f"{failed} of the runs failed")
            if succeeded == runs:
                return float(str(ended_at)) - due.timestamp()
    raise DaemonError(f"{runs} runs have not ended within {_TIMEOUT_SEC} s")


def _measure_runs(stand: Stand, build: _Build, sources: int, calls: int, number: int) -> Row:
    accounts = [_name_account(calls, number) for number in range(sources)]
    first = today() - dt.timedelta(days=OVERLAP_DAYS)
    stand.warm(accounts, first, today())
    due = _next_minute()
    cron = f"{due.minute} {due.hour} * * *"
    name = f"{build.name}_{sources}_{calls}_{number}"
    contender = enter_product(stand, accounts, name, cron)
    server = stand.watched["server"]
    with _running(build, contender) as process, TreeSampler(process.pid) as sampler:
        while time.time() < due.timestamp():
            _wait_a_moment(process)
        before = measure_cpu(process.pid), measure_cpu(server)
        seconds = _wait_for_runs(contender, process, sources, due)
        after = measure_cpu(process.pid), measure_cpu(server)
    contender.check([(account, first, today()) for account in accounts])
    return {
        "build": build.name,
        "sources due": sources,
        "calls a day": calls,
        "seconds": seconds,
        "runs/minute": 60 * sources / seconds,
        "CPU s a run": (after[0] - before[0]) / sources,
        "server CPU s a run": (after[1] - before[1]) / sources,
        "all processes MB": sampler.tree_kb / 1024,
        "idle % of a core": None,
    }


def _measure_by_turns(
    stand: Stand, builds: Sequence[_Build], sources: int, calls: int, rounds: int
) -> list[Row]:
    """Measure builds as often as they are compared: a machine is another one minutes later."""
    found: dict[str, list[Row]] = {build.name: [] for build in builds}
    for number in range(rounds if len(builds) > 1 else 1):
        for build in builds if number % 2 == 0 else reversed(builds):
            found[build.name].append(_measure_runs(stand, build, sources, calls, number))
        stand.settle()
    return [_find_medians(rows) for rows in found.values()]


def _find_medians(rows: Sequence[Row]) -> Row:
    medians = {name: statistics.median(float(row[name] or 0) for row in rows) for name in _MEASURED}
    return {**rows[0], **medians}


def _measure_idle(stand: Stand, build: _Build, seconds: float) -> Row:
    """Two sources of which nothing is due, with the embedded database, which is counted."""
    accounts = list(stand.keys)[:2]
    contender = enter_product(stand, accounts, f"{build.name}_idle", _NEVER)
    pid_file = contender.folder / "postgres" / "data" / "postmaster.pid"
    with _running(build, contender, is_embedded=True) as process:
        time.sleep(min(_UNTIL_IDLE_SEC, seconds))
        roots = process.pid, int(pid_file.read_text().splitlines()[0])
        before = sum(map(measure_cpu, roots))
        memory_kb = 0
        # The look itself costs the kernel, not the processes that are looked at.
        for _ in range(3):
            time.sleep(seconds / 3)
            memory_kb = max(memory_kb, sum(map(measure_memory, roots)))
        cpu = sum(map(measure_cpu, roots)) - before
    return {
        "build": build.name,
        "sources due": 0,
        "calls a day": 0,
        "seconds": seconds,
        "runs/minute": None,
        "CPU s a run": None,
        "server CPU s a run": None,
        "all processes MB": memory_kb / 1024,
        "idle % of a core": 100 * cpu / seconds,
    }


def measure_service(stand: Stand, sizes: ServiceSizes, former: Path | None) -> Section:
    """Measure all cases; a stand with the accounts of `list_accounts`.

    Args:
        stand: Where they run.
        sizes: What is measured.
        former: A checkout of another build to do the same beside this one.
    """
    here = _Build("this", ROOT)
    builds = [here, *([_Build("former", former.absolute())] if former else [])]
    rows = []
    if sizes.idle_sec:
        rows += [_measure_idle(stand, build, sizes.idle_sec) for build in builds]
    for sources, calls in zip(sizes.sources, sizes.calls_a_day, strict=True):
        taking_part = [here] if sources >= sizes.only_here else builds
        rows += _measure_by_turns(stand, taking_part, sources, calls, sizes.rounds)
    return Section(
        "daemon",
        "callkeeper dev: idle with 2 sources; sources due at once, 3 days each",
        rows,
        tuple(_compare(rows)) if former else (),
    )


def _compare(rows: Sequence[Row]) -> Iterator[Target]:
    found = {(row["build"], row["sources due"]): row for row in rows}
    for (build, sources), row in found.items():
        former = found.get(("former", sources))
        if build == "former" or not sources or former is None:
            continue
        faster = float(row["runs/minute"] or 0) / float(former["runs/minute"] or 1)
        cheaper = float(former["CPU s a run"] or 0) / float(row["CPU s a run"] or 1)
        yield Target(f"{sources} sources: 5 x the former runs a minute", faster, faster >= 5)
        yield Target(f"{sources} sources: a fifth of the former CPU", cheaper, cheaper >= 5)
