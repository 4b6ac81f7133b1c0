"""The webhook receiver on one core, beside the same uvicorn that answers an empty 200.

Both run by turns, each pinned to the first core; who posts has the last one, and PostgreSQL runs
where it likes. Payloads are on disk before they are answered: the server is the product's own.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.measure import measure_cpu
from callkeeper_assets_tests.benchmarks.post_load import BODY_BYTES
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, Stand, plain_environment

_CONNECTIONS: Final = 256
_TOKEN: Final = "benchmark-token-0123456789"
_PATH: Final = f"/webhooks/bench/{_TOKEN}"
_SOURCE: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {env: BENCH_API_KEY}
  webhook: {token: {env: BENCH_WEBHOOK_TOKEN}}
"""
_LEAST_SHARE: Final = 0.5
_MOST_P99_MS: Final = 50.0
_MOST_GROWTH: Final = 1.05
_START_SEC: Final = 60.0
# Far more than any measurement posts, so that no id comes twice.
_IDS_APART: Final = 100_000_000


class LostPayloadError(AssertionError):
    """The inbox does not hold what was answered 200."""


@dataclass(frozen=True)
class WebhookSizes:
    """How much is measured: turns of each server, seconds of a turn, requests for the memory."""

    turns: int
    seconds: float
    requests: int


@dataclass(frozen=True)
class _Server:
    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


class _Loads:
    """Posts to servers; no payload comes twice."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0))
        self._first_ids = count(_IDS_APART, _IDS_APART)
        self.kept = 0

    @contextmanager
    def serve(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        port: int,
        log: Path,
    ) -> Iterator[_Server]:
        """Run a server on the first core."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            os.sched_setaffinity(process.pid, self._cores[:1])
            deadline = time.monotonic() + _START_SEC
            while not _is_listening(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield _Server(name, port, process)
        finally:
            process.terminate()
            process.wait()

    def post(
        self, server: _Server, seconds: float, *, rate: float = 0.0, most: int | None = None
    ) -> dict[str, float]:
        """Post, and return the figures with the server's processor time of a request."""
        command = [sys.executable, "-m", "callkeeper_assets_tests.benchmarks.post_load"]
        command += ["--port", str(server.port), "--path", _PATH]
        command += ["--connections", str(_CONNECTIONS), "--seconds", str(seconds)]
        command += ["--rate", str(rate), "--first-id", str(next(self._first_ids))]
        command += ["--core", str(self._cores[-1])]
        command += ["--count", str(most)] if most else []
        before = measure_cpu(server.process.pid)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        figures: dict[str, float] = json.loads(done.stdout)
        cpu_sec = measure_cpu(server.process.pid) - before
        if server.name == "receiver":
            self.kept += int(figures["answered"] - figures["refused"])
        return {**figures, "cpu_us": 1e6 * cpu_sec / figures["answered"]}


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _build_row(server: _Server, what: str, figures: Mapping[str, float]) -> Row:
    return {
        "server": server.name,
        "load": what,
        "requests/s": figures["rate"],
        "median ms": figures["median_ms"],
        "p99 ms": figures["p99_ms"],
        "CPU us/request": figures["cpu_us"],
        "refused": figures["refused"],
        "MB": server.memory_mb(),
    }


def _middle(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


def _check_kept(url: str, kept: int) -> None:
    with connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM callkeeper_webhooks").fetchone()
    if row is None or int(str(row[0])) < kept:
        raise LostPayloadError(f"{kept} payloads were answered 200, the inbox holds {row}")


def measure_receiver(stand: Stand, sizes: WebhookSizes) -> Section:
    """Measure both servers, then the receiver at half its rate, and its memory."""
    folder = stand.folder / "webhooks"
    (folder / "defs" / "bench").mkdir(parents=True)
    (folder / "defs" / "bench" / "defs.yaml").write_text(_SOURCE)
    url = stand.database("webhooks")
    environment = {
        **plain_environment(),
        "CALLKEEPER_HOME": str(folder),
        "CALLKEEPER_DEFS": str(folder / "defs"),
        "CALLKEEPER_DATABASE_URL": url,
        "BENCH_WEBHOOK_TOKEN": _TOKEN,
    }
    ports = find_free_port(), find_free_port()
    empty_command = [sys.executable, "-m", "callkeeper_assets_tests.benchmarks.empty_server"]
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "webhooks"]
    loads = _Loads()
    with (
        loads.serve(
            "empty 200",
            [*empty_command, str(ports[0])],
            environment,
            ports[0],
            folder / "empty.log",
        ) as empty,
        loads.serve(
            "receiver", [*command, "--port", str(ports[1])], environment, ports[1], folder / "log"
        ) as receiver,
    ):
        turns: dict[str, list[dict[str, float]]] = {empty.name: [], receiver.name: []}
        for _ in range(sizes.turns):
            for server in (empty, receiver):
                turns[server.name].append(loads.post(server, sizes.seconds))
        idle, full = _middle(turns[empty.name]), _middle(turns[receiver.name])
        rows = [_build_row(empty, "full", idle), _build_row(receiver, "full", full)]
        half = loads.post(receiver, sizes.seconds, rate=full["rate"] / 2)
        rows.append(_build_row(receiver, "half", half))
        before_mb = receiver.memory_mb()
        rest = loads.post(receiver, 3600, most=sizes.requests)
        rows.append(_build_row(receiver, f"{sizes.requests:,} requests", rest))
        growth = receiver.memory_mb() / before_mb
    _check_kept(url, loads.kept)
    share = full["rate"] / idle["rate"]
    return Section(
        "webhooks",
        f"Webhooks of {BODY_BYTES:,} bytes over {_CONNECTIONS} connections, one core, durable",
        rows,
        (
            Target("half the rate of an empty 200", share, share >= _LEAST_SHARE),
            Target("p99 below 50 ms at half load", half["p99_ms"], half["p99_ms"] < _MOST_P99_MS),
            Target("memory grows by 1.05 x at most", growth, growth <= _MOST_GROWTH),
        ),
    )
