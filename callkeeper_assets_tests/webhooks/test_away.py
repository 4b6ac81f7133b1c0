"""Database away, disk full, receiver killed: what was answered 200 is in the inbox, once."""

import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import PATIENCE_SEC, Installation, Receiver
from callkeeper_assets_tests.webhooks.posting import Posting

# Of a file, in bytes; enough for a receiver's log, and for a spool that has hardly anything.
_SMALL = 60_000


def _wait_until_drained(receiver: Receiver) -> None:
    wait_until(
        lambda: receiver.health().document["spooled"] == 0, "the spool is drained", PATIENCE_SEC
    )
    # A moment later than their contents.
    spool = receiver.log.parent / "spool"
    wait_until(lambda: not list(spool.iterdir()), "its files are gone", PATIENCE_SEC)


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL, _SMALL))


def test_a_database_that_goes_and_comes_under_load_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    with installation.receiving() as receiver:
        with Posting(lambda: receiver.port) as posting:
            for _ in range(3):
                time.sleep(0.5)
                with installation.database_away():
                    receiver.wait_for_database("away")
                    seen = posting.posted
                    wait_until(
                        lambda: posting.posted > seen + 50,  # noqa: B023
                        "posts are answered",
                        PATIENCE_SEC,
                    )
                receiver.wait_for_database("reachable")
            time.sleep(0.5)
        _wait_until_drained(receiver)
        assert set(posting.count()) == {200}
        posting.check(installation.read_inbox())
        assert list(installation.spool.iterdir()) == []
        log = receiver.read_log()
    assert "The database is away: " in log
    assert "move to the inbox by themselves when it is back." in log
    assert "The spool is drained: all of it is in the inbox." in log
    assert "Traceback" not in log


@from_nothing
def test_a_receiver_starts_without_database_and_the_next_one_drains_its_spool(
    installation: Installation,
) -> None:
    installation.set_database(is_there=False)
    with installation.receiving(has_database=False) as first:
        assert first.health().status == 200
        assert first.health().document["database"] == "away"
        assert [first.post({"id": n}) for n in range(3)] == [200] * 3
        assert first.request("POST", "/webhooks/office/wrong").status == 404
        assert first.health().document["spooled"] == 3
        assert first.stop() == 0
    [left] = installation.spool.iterdir()
    assert left.stat().st_mode & 0o077 == 0, "others may not read clients' phone numbers"
    # The source is gone from the configuration meanwhile; its payloads are not.
    installation.set_database(is_there=True)
    (installation.home / "defs" / "office" / "defs.yaml").unlink()
    with installation.receiving() as second:
        _wait_until_drained(second)
    assert installation.query(
        "SELECT a.name, w.call_id FROM callkeeper_webhooks AS w"
        " JOIN general_accounts AS a USING (account_id) ORDER BY w.id"
    ) == [("office", 0), ("office", 1), ("office", 2)]
    assert list(installation.spool.iterdir()) == []


def test_a_neighbour_drains_what_a_killed_receiver_left(installation: Installation) -> None:
    with installation.receiving() as neighbour, installation.receiving() as killed:
        with installation.database_away():
            killed.wait_for_database("away")
            assert killed.post({"id": 1}) == 200
            killed.kill()
        wait_until(
            lambda: list(installation.read_inbox()) == [b'{"id": 1}'], "it is drained", PATIENCE_SEC
        )
        assert "The spool holds 1 payloads that a receiver before left." in neighbour.read_log()


def test_a_full_disk_is_503_and_what_was_kept_before_stays(installation: Installation) -> None:
    with installation.receiving(before=_limit_files) as receiver:
        with installation.database_away():
            receiver.wait_for_database("away")
            documents = [{"id": n, "x": "y" * 3000} for n in range(20)]
            statuses = [receiver.post(document) for document in documents]
            assert set(statuses) == {200, 503}
            answer = receiver.health()
            # A small probe still fits: the disk is full for a whole payload, not for all.
            assert answer.document["database"] == "away"
        receiver.wait_for_database("reachable")
        _wait_until_drained(receiver)
        assert receiver.post({"id": 99}) == 200
    kept = [n for n, status in enumerate(statuses) if status == 200]
    assert installation.query("SELECT call_id FROM callkeeper_webhooks ORDER BY id") == [
        *[(n,) for n in kept],
        (99,),
    ]
    assert "Webhooks are refused: the database is away, and the spool in " in receiver.read_log()
    assert "File too large. Free space" in receiver.read_log()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_without_any_room_is_unhealthy_until_there_is_some(
    installation: Installation, small_disk: Path
) -> None:
    installation.spool.symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 100_000)
    with installation.receiving() as receiver:
        with installation.database_away():
            receiver.wait_for_database("away")
            statuses = [receiver.post({"id": n, "x": "y" * 3000}) for n in range(30)]
            assert set(statuses) == {200, 503}
            wait_until(
                lambda: receiver.health().status == 503,
                "it says that it can keep nothing",
                PATIENCE_SEC,
            )
            health = receiver.health().document
            assert (health["status"], health["spool"]) == ("failing", "No space left on device")
            assert receiver.post({"id": 100}) == 503
            filler.unlink()
            wait_until(
                lambda: receiver.health().status == 200,
                "it says that it can keep again",
                PATIENCE_SEC,
            )
            assert receiver.post({"id": 101}) == 200
        _wait_until_drained(receiver)
    rows = installation.query("SELECT call_id FROM callkeeper_webhooks ORDER BY id")
    assert rows == [*((n,) for n in range(30) if statuses[n] == 200), (101,)]


@pytest.mark.chaos
def test_kills_at_random_moments_lose_and_double_nothing(installation: Installation) -> None:
    """Of the receiver, and by turns with the database away, so that some die while draining."""
    moments = random.Random(11)  # noqa: S311 -- not a secret
    port = 0
    with Posting(lambda: port or 1) as posting:
        for round_ in range(12):
            with installation.receiving() as receiver:
                port = receiver.port
                if round_ % 3 == 0:
                    with installation.database_away():
                        time.sleep(moments.uniform(0.2, 0.6))
                    # Into the drain, or before it.
                    time.sleep(moments.uniform(0.0, 0.3))
                else:
                    time.sleep(moments.uniform(0.0, 0.6))
                receiver.process.send_signal(signal.SIGKILL)
                receiver.process.wait()
    counts = posting.count()
    assert counts[200] > 100
    assert counts[None] > 0, "no kill has hit a request"
    with installation.receiving() as receiver:
        receiver.wait_for_database("reachable")
        _wait_until_drained(receiver)
    posting.check(installation.read_inbox())
