"""Locks of files are tried at the start, and told about where they mean nothing.

No network folder can be mounted in a test: `flock` is made to answer as one does, NFS without its
lock daemon by ENOLCK, a mount that ignores locks by yes to everybody.
"""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from callkeeper_assets.cli import checks
from callkeeper_assets.cli.serving import held_alone
from callkeeper_assets.home import find_lock_problem
from callkeeper_assets.postgres.embedded import EmbeddedPostgres
from callkeeper_assets.postgres.errors import DatabaseError


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _agree(*_: object) -> None:
    """As a mount does that ignores locks."""


FOLDERS = pytest.mark.parametrize(
    ("flock", "cause"),
    [(_refuse, "No locks available"), (_agree, "a file that is locked can be locked once more")],
    ids=["refuses", "agrees to all"],
)


def test_a_folder_on_a_disk_has_locks_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    assert find_lock_problem(tmp_path / "home") is None
    assert list((tmp_path / "home").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = find_lock_problem(tmp_path / "file" / "home")
    assert problem is not None
    assert "Not a directory" in problem or "File exists" in problem


@FOLDERS
def test_check_and_the_commands_that_need_locks_say_that_there_are_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    flock: object,
    cause: str,
) -> None:
    monkeypatch.setenv("CALLKEEPER_HOME", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", flock)
    remedy = "Set CALLKEEPER_HOME to a folder on a disk of this machine"
    finding = checks.check_home()
    assert finding.state == "bad"
    with pytest.raises(SystemExit), held_alone(tmp_path / "dev.lock", "callkeeper dev"):
        raise AssertionError("it has begun")
    with pytest.raises(DatabaseError) as refused:
        EmbeddedPostgres(tmp_path).start()
    said = " ".join(capfd.readouterr().err.split())
    for text in (finding.text, said, str(refused.value)):
        assert f"Files cannot be locked in {tmp_path}: {cause}." in text
        assert remedy in text
    assert list(tmp_path.iterdir()) == []
