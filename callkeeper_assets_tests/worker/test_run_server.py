"""The run server as a process, asked over its socket; whole runs: `e2e/test_run_server.py`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from callkeeper_assets.cli.processes import Forked
from callkeeper_assets.dagster_ext.run_socket import ask_run_server, socket_file
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

_REQUEST = {"run_id": "none", "instance": "none"}


@contextmanager
def run_server(module: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a run server while the block runs."""
    command = [sys.executable, "-m", "callkeeper_assets.worker.run_server", module]
    process: WarmPopen[bytes] = WarmPopen([*command, "--folder", str(folder)])
    try:
        wait_until(socket_file().exists, "it listens")
        yield process
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_who_asks_where_no_server_is_gets_no_answer(home: Path) -> None:
    assert socket_file().is_relative_to(home)
    assert ask_run_server(_REQUEST) is None


def test_code_that_cannot_be_read_is_an_answer_until_it_can(tmp_path: Path) -> None:
    code = tmp_path / "of_a_user.py"
    code.write_text("raise ValueError('not yet')\n", "utf-8")
    with run_server("of_a_user", tmp_path):
        refused = ask_run_server(_REQUEST)
        assert refused is not None
        assert "ValueError: not yet" in refused["error"]
        code.write_text("import dagster\ndefs = dagster.Definitions()\n", "utf-8")
        answer = ask_run_server(_REQUEST)
        assert answer is not None
        assert "process" in answer


def test_a_home_may_lie_deeper_than_a_sockets_name_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_HOME", str(tmp_path / ("deep" * 20) / ("deeper" * 20)))
    (tmp_path / "of_a_user.py").write_text("", "utf-8")
    with run_server("of_a_user", tmp_path):
        answer = ask_run_server(_REQUEST)
        assert answer is not None
        assert "process" in answer


def test_a_server_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "of_a_user.py").write_text("", "utf-8")
    with run_server("of_a_user", tmp_path):
        pass
    assert ask_run_server(_REQUEST) is None


def test_a_service_is_a_fork_whose_words_and_end_are_known(tmp_path: Path) -> None:
    (tmp_path / "of_a_user.py").write_text("", "utf-8")
    (tmp_path / "serving.py").write_text("import sys\nprint(sys.argv)\nsys.exit(7)\n", "utf-8")
    log = tmp_path / "serving.log"
    with run_server("of_a_user", tmp_path):
        answer = ask_run_server({"service": ["serving", "--port", "1"], "log": str(log)})
        assert answer is not None
        number = int(answer["process"].rsplit(" ", 2)[1])
        wait_until(lambda: not psutil.pid_exists(number), "it ends")
        assert ask_run_server({"ended": number}) == {"code": 7}
        # There is room for some runs, of which none is under way.
        places = ask_run_server({"places": True})
        assert places is not None
        assert places["places"] >= 1
    assert "'--port', '1']" in log.read_text("utf-8")


def test_how_a_service_ended_is_known_to_a_server_that_has_begun_anew(tmp_path: Path) -> None:
    # Code that cannot be read is read again at each request.
    (tmp_path / "of_a_user.py").write_text("raise ValueError('not yet')\n", "utf-8")
    (tmp_path / "serving.py").write_text("raise SystemExit(7)\n", "utf-8")
    request = {"service": ["serving"], "log": str(tmp_path / "serving.log")}
    with run_server("of_a_user", tmp_path):
        answer = ask_run_server(request)
        assert answer is not None
        number = int(answer["process"].rsplit(" ", 2)[1])
        wait_until(lambda: not psutil.pid_exists(number), "it ends")
        assert ask_run_server(request)
        assert ask_run_server({"ended": number}) == {"code": 7}


def test_a_service_that_is_ending_has_no_code_yet(tmp_path: Path) -> None:
    """Killed, it can look ended while its other threads are not: then nobody knows how it does."""
    (tmp_path / "of_a_user.py").write_text("", "utf-8")
    (tmp_path / "serving.py").write_text(
        "import ctypes, os, threading, time\n"
        "def end():\n"
        "    time.sleep(2)\n"
        "    os._exit(7)\n"
        "threading.Thread(target=end).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n",
        "utf-8",
    )
    with run_server("of_a_user", tmp_path):
        service = Forked(["-m", "serving"], tmp_path / "serving.log")
        process = psutil.Process(service.pid)
        wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, "its first thread has ended")
        assert service.poll() is None
        assert service.wait(30) == 7
        assert service.poll() == 7
