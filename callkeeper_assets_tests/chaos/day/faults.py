"""What is done to the day's parts, one after another: each a fault, and the end of it."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psutil

from callkeeper_assets_tests.chaos.day.parts import kill_together
from callkeeper_assets_tests.chaos.day.plant import MACHINES, Plant, set_trouble

_STALL_SEC: Final = 40.0
# Of the machine whose disk is watched: it is told after a minute.
_FULL_SEC: Final = 75.0
# Of a receiver of alerts: one is found within a minute, if a key is asked after.
_UNTOLD_SEC: Final = 90.0
_SHORT_SEC: Final = 30.0
_AWAY_SEC: Final = 20.0
_MEMORY_SEC: Final = 45.0
_LEFT_BYTES: Final = 20 << 20
_ASKED_LONG_AGO: Final = """
    UPDATE callkeeper_keys SET checked_at = checked_at - interval '2 days'
    WHERE account_id = (SELECT account_id FROM general_accounts WHERE name = %s)
    RETURNING account_id
"""


class NotHereError(Exception):
    """The fault cannot be made on this machine; why."""


@dataclass(frozen=True)
class Fault:
    """One kind.

    Attributes:
        make: A context manager: the fault lasts as long as its block.
        lasts_sec: How long; 0 for what is over at once, as a kill.
    """

    name: str
    make: Callable[[Plant], Iterator[None]]
    lasts_sec: float = 0.0


def _do_nothing(_: Plant) -> Iterator[None]:
    yield


def _kill(*parts: str) -> Callable[[Plant], Iterator[None]]:
    def make(plant: Plant) -> Iterator[None]:
        kill_together([plant.parts[name] for name in parts])
        yield

    return make


def _kill_service(*words: str) -> Callable[[Plant], Iterator[None]]:
    def make(plant: Plant) -> Iterator[None]:
        found = plant.parts["first"].find(*words)
        assert found, f"no process of {words}"
        for one in found:
            one.kill()
        yield

    return make


def _kill_run(plant: Plant) -> Iterator[None]:
    """Kill the process of a run that is under way, whichever comes first."""
    deadline, is_found = time.monotonic() + 120, False
    while time.monotonic() < deadline:
        for name in MACHINES[1:]:
            for one in plant.parts[name].find("worker.run_server"):
                # A run is a fork of the run server, which its supervisor has started.
                with suppress(psutil.Error):
                    if "worker.run_server" in " ".join(one.parent().cmdline()):
                        one.kill()
                        is_found = True
                        break
            if is_found:
                yield
                return
        time.sleep(0.05)
    raise NotHereError("no run was under way for two minutes")


def _stall(part: str) -> Callable[[Plant], Iterator[None]]:
    def make(plant: Plant) -> Iterator[None]:
        plant.parts[part].send(signal.SIGSTOP)
        yield
        plant.parts[part].send(signal.SIGCONT)

    return make


def _fill(disk: str, *, without_database: bool = False) -> Callable[[Plant], Iterator[None]]:
    def make(plant: Plant) -> Iterator[None]:
        if not plant.disks[disk].is_small:
            raise NotHereError("a small disk can be mounted by root alone")
        database = plant.parts["database"]
        if without_database:
            database.is_down = True
            kill_together([database])
        plant.disks[disk].fill()
        yield
        plant.disks[disk].free()
        if without_database:
            database.start()

    return make


def _refuse_objects(plant: Plant) -> Iterator[None]:
    plant.objects.refuse_writing(is_full=True)
    yield
    plant.objects.refuse_writing(is_full=False)


def _refuse_alerts(status: int) -> Callable[[Plant], Iterator[None]]:
    """Have alerts answered by a status, or not at all (0), while there is one to be told."""

    def make(plant: Plant) -> Iterator[None]:
        # One that no other fault of the day has chosen.
        name = next(one for one in reversed(plant.names) if one not in plant.refused)
        plant.alerts.status = status
        set_trouble(plant, name, is_there=True)
        plant.ask(_ASKED_LONG_AGO, name)
        yield
        set_trouble(plant, name, is_there=False)
        plant.alerts.status = 200

    return make


def _move(part: str) -> Callable[[Plant], Iterator[None]]:
    """Kill a machine for good; another one, with a home of its own, takes its place."""

    def make(plant: Plant) -> Iterator[None]:
        gone = plant.parts[part]
        assert gone.home is not None
        gone.is_down = True
        kill_together([gone])
        gone.home = gone.home.with_name(f"{gone.home.name}_else")
        gone.environment = {**gone.environment, "CALLKEEPER_HOME": str(gone.home)}
        gone.start()
        yield

    return make


def _starve(plant: Plant) -> Iterator[None]:
    """Leave a worker's machine hardly any memory: the kernel kills what asks for it."""
    if plant.cgroup is None:
        raise NotHereError("no group of processes can be limited here")
    limit = plant.cgroup / "memory.limit_in_bytes"
    usual = limit.read_text()
    stat = (plant.cgroup / "memory.stat").read_text()
    found = re.search(r"^total_rss (\d+)$", stat, re.MULTILINE)
    assert found
    limit.write_text(str(int(found[1]) + _LEFT_BYTES))
    yield
    limit.write_text("-1" if int(usual) > 1 << 62 else usual)


def _close(part: str) -> Callable[[Plant], Iterator[None]]:
    """Keep a part away for a while; it refuses connections."""

    def make(plant: Plant) -> Iterator[None]:
        plant.parts[part].is_down = True
        kill_together([plant.parts[part]])
        yield
        plant.parts[part].start()

    return make


def _shift_clock(plant: Plant) -> Iterator[None]:
    if plant.clock is None:
        raise NotHereError("a C compiler is not installed")
    plant.clock.set(3600)
    yield
    plant.clock.set(0)


FAULTS: Final = (
    Fault("none, for comparison", _do_nothing),
    Fault("clock an hour ahead, then back", _shift_clock, _SHORT_SEC),
    Fault("PostgreSQL stalls", _stall("database"), _STALL_SEC),
    Fault("broker stalls", _stall("broker"), _STALL_SEC),
    Fault("source stalls", _stall("source"), _STALL_SEC),
    Fault("disk full: PostgreSQL's", _fill("database"), _SHORT_SEC),
    Fault("disk full: receiver's, database away", _fill("first", without_database=True), _FULL_SEC),
    Fault("no memory: a worker's machine", _starve, _MEMORY_SEC),
    Fault("power loss of everything under load", _kill(*MACHINES, "database", "broker")),
    Fault("disk full: a worker's", _fill("second"), _SHORT_SEC),
    Fault("disk full: raw calls'", _refuse_objects, _SHORT_SEC),
    Fault("receiver of alerts answers 500", _refuse_alerts(500), _UNTOLD_SEC),
    Fault("receiver of alerts answers 429", _refuse_alerts(429), _UNTOLD_SEC),
    Fault("receiver of alerts closes the connection", _refuse_alerts(0), _UNTOLD_SEC),
    Fault("object store stalls", _stall("objects"), _STALL_SEC),
    Fault("kill -9: PostgreSQL", _kill("database")),
    Fault("kill -9: broker", _kill("broker")),
    Fault("kill -9: machine of daemon and receiver", _kill("first")),
    Fault("kill -9: machine of daemon and receiver, begun on another", _move("first")),
    Fault("kill -9: a run", _kill_run),
    Fault("kill -9: worker, all of its machine", _kill("second")),
    Fault("kill -9: daemon", _kill_service("dagster_ext.daemon")),
    Fault("kill -9: receiver of webhooks", _kill_service("main webhooks")),
    Fault("kill -9: process of alerts", _kill_service("main alerts")),
    Fault("broker away", _close("broker"), _AWAY_SEC),
    Fault("PostgreSQL away", _close("database"), _AWAY_SEC),
)


@contextmanager
def struck(fault: Fault, plant: Plant) -> Iterator[None]:
    """Have a fault as long as the block."""
    with contextmanager(fault.make)(plant):
        yield
