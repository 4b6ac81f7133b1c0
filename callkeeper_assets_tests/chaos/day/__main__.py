"""The compressed day: `make chaos-day ARGS="--sources 100 --minutes 25"`.

Everything works under load, and one fault after another strikes. Of each it is printed when the
first sign of it was there, when all was whole again, and what was lost. Ends with 1 if anything
was.
"""

import argparse
import datetime as dt
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from callkeeper_assets_tests.chaos.day.faults import FAULTS, Fault, NotHereError, struck
from callkeeper_assets_tests.chaos.day.parts import soon
from callkeeper_assets_tests.chaos.day.plant import (
    MACHINES,
    TROUBLED,
    Plant,
    Size,
    build_plant,
    set_trouble,
)
from callkeeper_assets_tests.chaos.day.source import Traffic
from callkeeper_assets_tests.chaos.day.verdict import (
    find_kept_days,
    find_lost_alerts,
    find_lost_webhooks,
    find_problems,
    find_untold_keys,
    find_wrong_alerts,
    find_wrong_calls,
    set_mark,
)

_LOOK_SEC: Final = 0.5
_FAILED: Final = """
    SELECT count(*) FROM dagster.runs
    WHERE status = 'FAILURE' AND NOT starts_with(pipeline_name, %s)
"""
# By which a log tells of a fault: `up`'s, and those of both workers.
_WORDS: Final = (b" ended (", b"onnection", b"onnection")
# Of all-clears: twenty minutes to a reconciliation's next run, ten of calm, and twice as many of
# what has come again.
_CALM_SEC: Final = 2400.0


@dataclass
class Outcome:
    """What came of one fault; seconds from its beginning and from its end."""

    fault: str
    lasted: float = 0.0
    sign: str = ""
    detected: float | None = None
    whole: float | None = None
    problems: list[str] = field(default_factory=list)

    def show(self) -> str:
        """Return its row of the table."""
        detected = "-" if self.detected is None else f"{self.detected:.1f} s ({self.sign})"
        whole = "NEVER" if self.whole is None else f"{self.whole:.0f} s"
        lost = "0" if self.whole is not None else "; ".join(self.problems)
        return f"| {self.fault} | {self.lasted:.0f} s | {detected} | {whole} | {lost} |"


class Signs:
    """Looks for the first sign of a fault, from a thread."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._starts = {name: part.starts for name, part in plant.parts.items()}
        workers = [
            plant.folder / name / "home" / "logs" / "worker" / "taker.log" for name in MACHINES[1:]
        ]
        logs = [plant.parts["first"].log, *workers]
        self._logs = [(log, log.stat().st_size) for log in logs]
        self._looks = (
            self._look_at_processes,
            self._look_at_logs,
            self._look_at_receiver,
            self._look_at_database,
        )
        self._failed = self._count_failed()
        self.found: tuple[float, str] | None = None
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join(30)

    def _count_failed(self) -> int | None:
        rows = self._plant.ask(_FAILED, TROUBLED)
        return int(rows[0][0]) if rows else None

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            sign = next((found for look in self._looks for found in look()), None)
            if sign:
                self.found = (time.monotonic() - self._began, sign)
                return

    def _look_at_processes(self) -> Iterator[str]:
        for name, part in self._plant.parts.items():
            if part.starts > self._starts[name]:
                yield f"{name} started again"

    def _look_at_logs(self) -> Iterator[str]:
        for (log, size), words in zip(self._logs, _WORDS, strict=True):
            if log.stat().st_size > size:
                with log.open("rb") as file:
                    file.seek(size)
                    if words in file.read():
                        yield f"log of {log.stem}"

    def _look_at_receiver(self) -> Iterator[str]:
        health = self._plant.health()
        if health is None:
            yield "receiver does not answer"
        elif health["status"] != "ok":
            yield f"/health: {health['status']}"

    def _look_at_database(self) -> Iterator[str]:
        failed = self._count_failed()
        if failed is None:
            yield "database does not answer"
        elif self._failed is not None and failed > self._failed:
            yield "failed run"


def _say(text: str) -> None:
    print(f"{dt.datetime.now():%H:%M:%S} {text}", flush=True)  # noqa: DTZ005 -- for who watches


def _wait_until_whole(
    plant: Plant, traffic: Traffic, outcome: Outcome, began: float, longest: float
) -> None:
    mark = None
    while time.monotonic() - began < longest:
        mark = mark or set_mark(plant, began)
        outcome.problems = (
            list(find_problems(plant, traffic, mark)) if mark else ["the database does not answer"]
        )
        if not outcome.problems:
            outcome.whole = time.monotonic() - began
            return
        time.sleep(_LOOK_SEC)


def strike(plant: Plant, traffic: Traffic, fault: Fault, longest: float) -> Outcome:
    """Have one fault, and wait until all is whole again."""
    outcome = Outcome(fault.name)
    signs = Signs(plant)
    began = time.monotonic()
    with struck(fault, plant):
        if fault.lasts_sec:
            time.sleep(fault.lasts_sec)
    ended = time.monotonic()
    outcome.lasted = ended - began
    _wait_until_whole(plant, traffic, outcome, ended, longest)
    signs.end()
    if signs.found:
        outcome.detected, outcome.sign = signs.found
    return outcome


def conclude(plant: Plant, traffic: Traffic, longest: float, calm: float) -> list[str]:
    """End the traffic, wait until the tables have it all; return what is wrong."""
    traffic.end()
    mark = set_mark(plant, time.monotonic())
    source = plant.source
    set_trouble(plant, TROUBLED, is_there=False)
    for name in plant.names:
        source.control("finalise", {"account": name})
    now = source.now()
    source.control("clock", {"now": now.isoformat()})
    # The end of a day: nobody waits for each source's next schedule.
    plant.installation.run("refresh")
    problems: list[str] = []
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        mark = mark or set_mark(plant, time.monotonic())
        problems = list(find_problems(plant, traffic, mark)) if mark else ["no database"]
        problems = problems or list(find_lost_webhooks(plant, traffic.list_accepted()))
        problems = problems or list(find_wrong_calls(plant, now.date()))
        problems = problems or list(find_kept_days(plant))
        if not problems:
            break
        time.sleep(2)
    problems += find_wrong_alerts(plant, is_over=False)
    if calm:
        _say(f"calls, webhooks, retention: {problems or 'all is as it has to be'}; all-clears …")
        problems += _wait_for_alerts(plant, calm)
    return problems


def _wait_for_alerts(plant: Plant, seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while True:
        problems = [
            *find_wrong_alerts(plant, is_over=True),
            *find_lost_alerts(plant),
            *find_untold_keys(plant),
        ]
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(2)


def live_through(
    plant: Plant, faults: Sequence[Fault], minutes: float, longest: float, calm: float
) -> tuple[list[Outcome], list[str], Traffic]:
    """Have all faults in turn, and again until the time is over."""
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with Traffic(plant.source, plant.names, plant.size.rate) as traffic:
        soon(lambda: len(traffic.list_accepted()) > plant.size.rate, "webhooks are accepted")
        soon(lambda: plant.ask("SELECT 1 FROM dagster.runs WHERE status = 'SUCCESS'"), "a run", 300)
        while not outcomes or time.monotonic() - began < 60 * minutes:
            for number, fault in enumerate(faults):
                if number >= len(faults) // 2:
                    set_trouble(plant, TROUBLED, is_there=False)
                _say(f"{fault.name} …")
                try:
                    outcomes.append(strike(plant, traffic, fault, longest))
                except NotHereError as error:
                    _say(f"left out: {error}")
                    continue
                _say(outcomes[-1].show())
                if 0 < minutes < (time.monotonic() - began) / 60:
                    break
        problems = conclude(plant, traffic, longest, calm)
    return outcomes, problems, traffic


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos-day", description=__doc__)
    parser.add_argument("--sources", type=int, default=100)
    parser.add_argument("--rate", type=float, default=20.0, help="webhooks a second")
    parser.add_argument("--every", type=int, default=10, help="minutes between refreshes")
    parser.add_argument("--runs", type=int, default=3, help="at once on each worker")
    parser.add_argument("--minutes", type=float, default=0.0, help="0: each fault once")
    parser.add_argument("--longest", type=float, default=300.0, help="seconds to be whole again")
    parser.add_argument("--calm", type=float, default=_CALM_SEC, help="seconds for all-clears")
    parser.add_argument("--faults", default="", help="only those with one of these, by commas")
    parser.add_argument("--keep", action="store_true", help="wait before all is deleted")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the day, print its table; return 1 if anything was lost or stayed broken."""
    given = _parse(arguments)
    # What it has started has to go with it, whoever ends it; a shell's background ignores SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Stopped."))
    words = [word for word in given.faults.split(",") if word]
    faults = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    size = Size(given.sources, given.rate, given.every, given.runs)
    _say(f"{size}; load {os.getloadavg()}")
    with build_plant(size) as plant:
        _say(f"All is up: {plant.folder}")
        outcomes, problems, traffic = live_through(
            plant, faults, given.minutes, given.longest, given.calm
        )
        _print_table(plant, outcomes, problems, traffic)
        if given.keep:
            input("Enter deletes it: ")
    return int(bool(problems) or any(one.whole is None for one in outcomes))


def _print_table(
    plant: Plant, outcomes: Sequence[Outcome], problems: Sequence[str], traffic: Traffic
) -> None:
    print("| fault | lasted | first sign after | whole again after its end | lost |")
    print("|---|---|---|---|---|")
    for one in outcomes:
        print(one.show())
    calls = plant.ask(
        "SELECT count(*), count(DISTINCT (account_id, call_id)) FROM callkeeper_calls"
    )
    runs = plant.ask("SELECT status, count(*) FROM dagster.runs GROUP BY 1 ORDER BY 1")
    print(
        f"Calls in the tables, and different ones of them: {calls}; "
        f"changed meanwhile: {traffic.changed}"
    )
    print(
        f"Webhooks accepted: {len(traffic.list_accepted())}; answered otherwise, and sent again: "
        f"{traffic.refused}; not answered, and sent again: {traffic.unanswered}"
    )
    print(f"Runs: {runs}; alerts: {plant.alerts.list_told()}; load {os.getloadavg()}")
    for problem in problems:
        print(f"WRONG: {problem}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
