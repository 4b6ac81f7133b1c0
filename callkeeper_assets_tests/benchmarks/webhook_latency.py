"""How long after its answer a webhook's call is in the tables, with many sources at once.

Through all of `callkeeper dev`: receiver, sensor, daemon, and a process for each run. Each source
gets a call a minute, its two webhooks half a minute apart. Measured from `received_at`, which the
receiver sets before it answers, to `processed_at`, the transaction that makes the row.
"""

import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import write_sources
from callkeeper_assets_tests.benchmarks.measure import measure_cpu
from callkeeper_assets_tests.benchmarks.report import Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, Stand, plain_environment
from callkeeper_assets_tests.webhooks.inbox_of import OVER, PROCESSING, payload

_TOKEN: Final = "benchmark-token-0123456789"
_WEBHOOK: Final = "  webhook: {token: {env: BENCH_WEBHOOK_TOKEN}}\n"
_MOST_SEC: Final = 60.0
_START_SEC: Final = 180.0
_REST_SEC: Final = 300.0
_HEADERS: Final = {"content-type": "application/json"}

_LATENCY: Final = """
    SELECT count(*), percentile_cont(ARRAY[0.5, 0.95, 1.0]) WITHIN GROUP (
        ORDER BY extract(epoch FROM processed_at - received_at)::float)
    FROM callkeeper_webhooks WHERE state = 'processed'
"""
_WAITING: Final = "SELECT count(*) FROM callkeeper_webhooks WHERE state = 'new'"
_UNDER_WAY: Final = (
    "SELECT count(*) FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
)
_CALLS: Final = "SELECT count(*) FROM callkeeper_calls_facts"
_RUNS: Final = "SELECT count(*), count(*) FILTER (WHERE status = 'FAILURE') FROM dagster.runs"


class UnprocessedError(AssertionError):
    """The tables do not hold the calls that were posted, or not in time."""


def _write_sources(stand: Stand, folder: Path, names: list[str]) -> None:
    write_sources(folder, names, api_url=stand.api_url, start=stand.first_day)
    for name in names:
        with (folder / name / "defs.yaml").open("a", encoding="utf-8") as file:
            file.write(_WEBHOOK)


@contextmanager
def _run_dev(environment: Mapping[str, str], log: Path) -> Iterator[tuple[int, int]]:
    """Run `callkeeper dev`; yields its process and the receiver's port."""
    port, webhook_port = find_free_port(), find_free_port()
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "dev", "--port", str(port)]
    command += ["--webhook-port", str(webhook_port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + _START_SEC
        while "Stop:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process.pid, webhook_port
    finally:
        process.terminate()
        process.wait()


def _plan_posts(
    names: list[str], minutes: int, minute_sec: float
) -> list[tuple[float, str, int, str]]:
    """Return when each webhook is posted, in seconds, with its source, call and event."""
    rng = random.Random("latency")  # noqa: S311 -- not a secret
    posts = []
    for call_id in range(1, minutes + 1):
        for name in names:
            at = minute_sec * (call_id - 1 + rng.uniform(0.0, 0.5))
            posts += [(at, name, call_id, PROCESSING), (at + minute_sec / 2, name, call_id, OVER)]
    return sorted(posts)


def _post_all(port: int, posts: list[tuple[float, str, int, str]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started, now = time.monotonic(), datetime.now(UTC)
    when = {"date": f"{now:%Y-%m-%d %H:%M:%S}", "date_timestamp": int(now.timestamp())}
    for at, name, call_id, event in posts:
        time.sleep(max(0.0, started + at - time.monotonic()))
        body = json.dumps(payload(call_id, event) | when).encode()
        connection.request("POST", f"/webhooks/{name}/{_TOKEN}", body, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == http.client.OK
    connection.close()


def _ask(url: str, question: str) -> tuple[object, ...]:
    with connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row


def _wait_for_rest(url: str) -> None:
    deadline = time.monotonic() + _REST_SEC
    while _ask(url, _WAITING) != (0,) or _ask(url, _UNDER_WAY) != (0,):
        if time.monotonic() > deadline:
            raise UnprocessedError(f"webhooks wait {_REST_SEC:g} s after the last was posted")
        time.sleep(0.5)


def measure_latency(stand: Stand, sources: int, minutes: int, minute_sec: float) -> Section:
    """Measure so many sources for so many minutes, in an empty warehouse.

    A minute may be shorter than 60 seconds, to see that all of it works.
    """
    folder = stand.folder / "webhook_latency"
    names = [f"calling_{number}" for number in range(sources)]
    _write_sources(stand, folder / "defs", names)
    url = stand.database("webhook_latency")
    environment = {
        **plain_environment(),
        "CALLKEEPER_HOME": str(folder),
        "CALLKEEPER_DEFS": str(folder / "defs"),
        "CALLKEEPER_DATABASE_URL": url,
        "BENCH_WEBHOOK_TOKEN": _TOKEN,
    }
    server = stand.watched["server"]
    with _run_dev(environment, folder / "dev.log") as (pid, port):
        before = measure_cpu(pid), measure_cpu(server)
        _post_all(port, _plan_posts(names, minutes, minute_sec))
        _wait_for_rest(url)
        cpu, server_cpu = measure_cpu(pid) - before[0], measure_cpu(server) - before[1]
    count, percentiles = _ask(url, _LATENCY)
    assert isinstance(count, int)
    assert isinstance(percentiles, list)
    runs, failed = _ask(url, _RUNS)
    assert isinstance(runs, int)
    if (count, failed, _ask(url, _CALLS)) != (2 * sources * minutes, 0, (sources * minutes,)):
        raise UnprocessedError(f"{count} payloads were processed, {failed} of {runs} runs failed")
    return Section(
        "webhook-latency",
        f"{sources} sources, a call a minute each, through callkeeper dev",
        [
            {
                "sources": sources,
                "minutes": minutes,
                "payloads": count,
                "p50 s": percentiles[0],
                "p95 s": percentiles[1],
                "max s": percentiles[2],
                "runs/minute": runs / minutes,
                "CPU s/minute": cpu / minutes,
                "server CPU s/minute": server_cpu / minutes,
            }
        ],
        (Target("95 of 100 below 60 s", percentiles[1], percentiles[1] < _MOST_SEC),),
    )
