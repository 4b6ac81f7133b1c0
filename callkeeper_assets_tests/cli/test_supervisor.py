"""What dies is started again: later each time, but no later than it may be."""

import time
from pathlib import Path

import pytest

from callkeeper_assets.cli import processes
from callkeeper_assets.cli.processes import Service, Supervisor
from callkeeper_assets_tests.waiting import wait_until

_ENDS = ("-c", "raise SystemExit(3)")


def test_a_service_whose_pause_is_bounded_is_started_again_soon_however_often_it_dies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supervisor() as supervisor:
        supervisor.start(Service("Bounded", _ENDS, tmp_path / "bounded.log", 0.05))
        supervisor.start(Service("Unbounded", _ENDS, tmp_path / "unbounded.log"))

        def has_died_often() -> bool:
            supervisor.look_after()
            time.sleep(0.01)
            return supervisor.count_deaths("Bounded") >= 6

        wait_until(has_died_often, "it has died six times")
        assert supervisor.count_deaths("Unbounded") <= 3
    said = " ".join(capsys.readouterr().err.split())
    assert "Bounded ended (exit code 3); it is started again in 0.05 s." in said
    assert "Unbounded ended (exit code 3); it is started again in 1 s." in said


def test_a_log_turns_over_while_its_service_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LARGEST_LOG", 1_000)
    log = tmp_path / "talkative.log"
    talk = "import time\nfor n in range(10**6): print(f'line {n}', flush=True); time.sleep(0.002)"
    with Supervisor() as supervisor:
        supervisor.start(Service("Talkative", ("-c", talk), log))

        def has_turned_over() -> bool:
            supervisor.look_after()
            time.sleep(0.01)
            return log.with_suffix(".old.log").exists() and log.stat().st_size > 100

        wait_until(has_turned_over, "its log has turned over")
        first = log.read_text().splitlines()[0]
        last = log.with_suffix(".old.log").read_text().splitlines()[-1]
        assert supervisor.count_deaths("Talkative") == 0
    # No hole of zeroes where the file was; and the lines go on.
    assert int(first.removeprefix("line ")) > int(last.removeprefix("line "))
