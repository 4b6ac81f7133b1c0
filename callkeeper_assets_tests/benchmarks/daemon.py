"""Many sources refreshed by Dagster's daemon, as their schedules start them: runs a minute.

All schedules are due in the same minute; the clock runs from that minute until the last run has
ended. Daemon, queue, launcher and limits are those of the project's `dagster.yaml`.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.dagster_ext import DAEMON_MODULE
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import (
    OVERLAP_DAYS,
    Contender,
    enter_product,
)
from callkeeper_assets_tests.benchmarks.measure import TreeSampler, measure_cpu
from callkeeper_assets_tests.benchmarks.report import Section
from callkeeper_assets_tests.benchmarks.stand import ROOT, TIME_ZONE, Stand, today

# The daemon has to have loaded the code location before its schedules are due; on a busy machine,
# as in the short form, that takes a while.
_START_SEC: Final = 45
_POLL_SEC: Final = 0.5
_TIMEOUT_SEC: Final = 1800
_COUNT: Final = (
    "SELECT count(*) FILTER (WHERE status = 'SUCCESS'),"
    " count(*) FILTER (WHERE status IN ('FAILURE', 'CANCELED')), max(end_time)"
    " FROM dagster.runs"
)


class DaemonError(RuntimeError):
    """The daemon ended, a run failed, or the runs took too long."""


def name_accounts(sources: int) -> list[str]:
    """The accounts that a stand needs."""
    return [f"scheduled_{number}" for number in range(sources)]


def _next_minute() -> dt.datetime:
    """A whole minute that the daemon will be ready for."""
    soon = dt.datetime.now(ZoneInfo(TIME_ZONE)) + dt.timedelta(seconds=_START_SEC)
    return soon.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)


def _wait_a_moment(daemon: "subprocess.Popen[bytes]") -> None:
    time.sleep(_POLL_SEC)
    if daemon.poll() is not None:
        raise DaemonError(f"the daemon ended with {daemon.returncode}; its log is printed above")


def _wait_until(due: dt.datetime, daemon: "subprocess.Popen[bytes]") -> None:
    while time.time() < due.timestamp():
        _wait_a_moment(daemon)


def _wait_for_runs(
    contender: Contender, daemon: "subprocess.Popen[bytes]", runs: int, due: dt.datetime
) -> float:
    """Seconds from `due` until the last run has ended."""
    while time.time() < due.timestamp() + _TIMEOUT_SEC:
        _wait_a_moment(daemon)
        with connect(contender.database_url) as connection:
            row = connection.execute(_COUNT).fetchone()
        assert row is not None
        succeeded, failed, ended_at = row
        if failed:
            raise DaemonError(f"{failed} of the daemon's runs failed")
        if succeeded == runs:
            return float(str(ended_at)) - due.timestamp()
    raise DaemonError(f"{runs} runs have not ended within {_TIMEOUT_SEC} s")


def measure_daemon(stand: Stand, sources: int) -> Section:
    """Refresh so many sources, of the accounts of `name_accounts`, in an empty warehouse."""
    accounts: Sequence[str] = name_accounts(sources)
    first = today() - dt.timedelta(days=OVERLAP_DAYS)
    stand.warm(accounts, first, today())
    due = _next_minute()
    cron = f"{due.minute} {due.hour} * * *"
    contender = enter_product(stand, accounts, "daemon", cron)
    home = contender.folder / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    environment = {**contender.environment(), "DAGSTER_HOME": str(home)}
    command = [sys.executable, "-m", DAEMON_MODULE, "run", "-w", str(ROOT / "workspace.yaml")]
    server = stand.watched["server"]
    log = contender.folder / "daemon.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            with TreeSampler(daemon.pid) as sampler:
                _wait_until(due, daemon)
                before = measure_cpu(daemon.pid), measure_cpu(server)
                seconds = _wait_for_runs(contender, daemon, sources, due)
                cpu, server_cpu = (
                    measure_cpu(daemon.pid) - before[0],
                    measure_cpu(server) - before[1],
                )
        except DaemonError:
            os.write(2, log.read_bytes()[-5000:])
            raise
        finally:
            daemon.terminate()
            daemon.wait()
    contender.check([(account, first, today()) for account in accounts])
    return Section(
        "daemon",
        f"{sources} sources refreshed by the daemon, 3 days x 1,000 calls each",
        [
            {
                "sources": sources,
                "seconds": seconds,
                "runs/minute": 60 * sources / seconds,
                "CPU s": cpu,
                "server CPU s": server_cpu,
                "largest process MB": sampler.process_kb / 1024,
                "all processes MB": sampler.tree_kb / 1024,
            }
        ],
    )
