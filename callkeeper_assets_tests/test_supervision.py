"""What is told by systemd's protocol, as its manual sd_notify(3) has it."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets.cli.console import build_child_environment
from callkeeper_assets.supervision import find_watchdog_pause, notify, report_from_thread


@pytest.fixture(params=["a file", "an abstract one"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The supervisor's end of its socket."""
    name = str(tmp_path / "notify") if request.param == "a file" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name.replace("@", "\0", 1))
        channel.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield channel


def test_readiness_comes_first_and_signs_of_life_only_while_all_is_well(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    ready, well = iter([False, True]), iter([True, True])
    report_from_thread(lambda: next(ready), lambda: next(well, False))
    assert [supervisor.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    supervisor.settimeout(0.2)
    with pytest.raises(TimeoutError):
        supervisor.recv(100)


def test_nobody_is_told_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
    # A supervisor is told by the process that it started, not by that one's children.
    assert "NOTIFY_SOCKET" not in build_child_environment()


def test_a_supervisor_that_does_not_listen_holds_nobody_up(supervisor: socket.socket) -> None:
    # As many as its queue takes, and one that it does not.
    longest = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text("ascii"))

    def tell() -> None:
        for _ in range(longest + 2):
            notify("WATCHDOG=1")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    teller.join(20)
    assert not teller.is_alive()
    assert supervisor.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("within", "whom", "pause"),
    [("", "", None), ("0", "", None), ("3000000", "", 1.5), ("3000000", "1", None)],
)
def test_signs_of_life_are_due_twice_as_often_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, within: str, whom: str, pause: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", within)
    monkeypatch.setenv("WATCHDOG_PID", whom)
    assert find_watchdog_pause() == pause
    if pause:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        assert find_watchdog_pause() == pause
