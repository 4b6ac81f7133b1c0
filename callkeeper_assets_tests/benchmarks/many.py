"""What a thousand sources take: definitions, `callkeeper up`, its UI, and all due in a minute.

One machine does all of it. The ceiling is looked for part by part: the daemon's tick, connections
to PostgreSQL, Dagster's event log, what the UI's page of assets asks for.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import OVERLAP_DAYS, Contender, enter_product
from callkeeper_assets_tests.benchmarks.daemon import DaemonError
from callkeeper_assets_tests.benchmarks.measure import TreeSampler, find_tree, measure_cpu
from callkeeper_assets_tests.benchmarks.report import Section, Value
from callkeeper_assets_tests.benchmarks.stand import ROOT, TIME_ZONE, Stand, today
from callkeeper_assets_tests.processes import arguments_of, read_process

_START_SEC: Final = 900.0
_RUNS_SEC: Final = 3600.0
_POLL_SEC: Final = 2.0
# Until all is up and each schedule is known, on two busy cores; and more for each source.
_AHEAD: Final = timedelta(minutes=2)
_AHEAD_EACH: Final = timedelta(seconds=0.25)
_RUNS: Final = """
    SELECT count(*) FILTER (WHERE status = 'SUCCESS'),
        count(*) FILTER (WHERE status IN ('FAILURE', 'CANCELED')), max(end_time)
    FROM dagster.runs WHERE pipeline_name LIKE '%%_refresh'
"""
_MADE: Final = """
    SELECT extract(epoch FROM max(create_timestamp) AT TIME ZONE 'UTC') FROM dagster.runs
    WHERE pipeline_name LIKE '%%_refresh'
"""
_LOG_BYTES: Final = """
    SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'dagster' AND c.relkind = 'r'
"""
_CONNECTIONS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
)
# What the page of all assets asks for first.
_ASSETS: Final = """{ assetsOrError { ... on AssetConnection { nodes { id key { path } definition {
    id groupName isExecutable isMaterializable isObservable computeKind kinds description
    isPartitioned hasMaterializePermission jobNames repository { id name location { id name } }
    tags { key value } owners { __typename } partitionDefinition { description }
} } } } }"""
_PARTS: Final = {
    "code server": "cli.main code",
    "run server": "worker.run_server",
    "daemon": "dagster_ext.daemon",
    "web server": "cli.main web ",
}


def list_accounts(sources: int, calls: int) -> dict[str, int]:
    """The accounts that a stand needs, with the calls that each has a day."""
    return {f"one_of_many_{number}": calls for number in range(sources)}


@dataclass
class _Watch:
    """The most connections that were there at once, looked for in a thread."""

    database_url: str
    most: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with connect(self.database_url, autocommit=True) as connection:
            own = connection.info.backend_pid
            while not self.is_over.wait(_POLL_SEC / 4):
                row = connection.execute(_CONNECTIONS, (own,)).fetchone()
                assert row is not None
                self.most = max(self.most, int(str(row[0])))


def _ask(database_url: str, sql: str) -> tuple[Any, ...]:
    with connect(database_url, autocommit=True) as connection:
        row = connection.execute(sql.replace("%%", "%").encode()).fetchone()
    assert row is not None
    return row


@contextmanager
def _up(contender: Contender, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep `callkeeper up` while the block runs, which begins when all of it is up."""
    environment = {**contender.environment(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "up", "--port", str(port)]
    command += ["--metrics-port", str(find_free_port())]
    file = contender.folder / "up.log"
    with file.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _START_SEC
            while "Up. " not in file.read_text("utf-8", "replace"):
                time.sleep(0.1)
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DaemonError(f"callkeeper up is not up; its log is {file}")
            yield process
        finally:
            process.terminate()
            process.wait(120)


def _measure_parts(root: int) -> dict[str, Value]:
    """Return each part's own memory in MB: pages that it shares count as its share of them."""
    found: dict[str, Value] = {}
    for pid in find_tree(root):
        words = arguments_of(pid)
        for part, word in _PARTS.items():
            if word in words:
                lines = read_process(pid, "smaps_rollup").splitlines()
                kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                found[part] = float(str(found.get(part) or 0)) + kilobytes / 1024
    return {f"{part}, MB": found.get(part) for part in _PARTS}


def _time_page(port: int) -> tuple[float, float]:
    """Return the seconds and the MB of what the page of assets asks for."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": _ASSETS}).encode(),
        {"content-type": "application/json"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as answer:
        content = answer.read()
    seconds = time.perf_counter() - began
    assert json.loads(content)["data"]["assetsOrError"]["nodes"], content[:500]
    return seconds, len(content) / 1e6


def _wait_for_runs(contender: Contender, sources: int, due: datetime) -> float:
    deadline = due.timestamp() + _RUNS_SEC
    while time.time() < deadline:
        succeeded, failed, ended_at = _ask(contender.database_url, _RUNS)
        if failed:
            raise DaemonError(f"{failed} of the runs failed")
        if succeeded == sources:
            return float(ended_at) - due.timestamp()
        time.sleep(_POLL_SEC)
    raise DaemonError(f"{sources} runs have not ended within {_RUNS_SEC:.0f} s")


def measure_many(stand: Stand, sources: int, calls: int) -> Section:
    """Measure one installation with so many sources of so many calls a day."""
    accounts = list(list_accounts(sources, calls))
    first = today() - timedelta(OVERLAP_DAYS)
    stand.warm(accounts, first, today())
    soon = datetime.now(ZoneInfo(TIME_ZONE)) + _AHEAD + sources * _AHEAD_EACH
    due = soon.replace(second=0, microsecond=0)
    contender = enter_product(stand, accounts, "many", f"{due.minute} {due.hour} * * *")
    found: dict[str, Value] = {"sources": sources, "calls a day of each": calls}
    check = contender.run_product("check")
    found |= {"callkeeper check, s": check.seconds, "… its memory, MB": check.tree_mb}
    port = find_free_port()
    began = time.perf_counter()
    watch = _Watch(contender.database_url)
    with _up(contender, port) as process, TreeSampler(process.pid) as sampler:
        found["all is up after, s"] = time.perf_counter() - began
        looking = threading.Thread(target=watch.run)
        looking.start()
        for name in ("page of assets, s", "… again, s"):
            found[name], megabytes = _time_page(port)
        found["… MB"] = megabytes
        before = _ask(contender.database_url, _LOG_BYTES)[0], watch.most
        found["ready before all is due, s"] = due.timestamp() - time.time()
        while time.time() < due.timestamp():
            time.sleep(0.2)
        found |= _measure_parts(process.pid)
        cpu = measure_cpu(process.pid)
        seconds = _wait_for_runs(contender, sources, due)
        found |= {
            "all refreshed after, s": seconds,
            "runs a minute": 60 * sources / seconds,
            "CPU of a run, s": (measure_cpu(process.pid) - cpu) / sources,
            "the daemon has made all runs after, s": float(_ask(contender.database_url, _MADE)[0])
            - due.timestamp(),
            "connections idle": before[1],
            "connections at most": watch.most,
            "Dagster's tables, kB a refresh": (
                (_ask(contender.database_url, _LOG_BYTES)[0] - before[0]) / sources / 1e3
            ),
            "page of assets after it, s": _time_page(port)[0],
        }
        watch.is_over.set()
        looking.join()
    found["most memory of all, MB"] = sampler.tree_kb / 1024
    contender.check([(account, first, today()) for account in accounts])
    return Section(
        "many",
        f"callkeeper up with {sources} sources, all due in one minute",
        [{"what": name, "figure": value} for name, value in found.items()],
    )
