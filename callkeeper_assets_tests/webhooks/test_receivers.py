"""Receivers on two machines: what waits on the one is reached, or named, from the other."""

from pathlib import Path

from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import (
    PATIENCE_SEC,
    Installation,
)

_NUMBER = "79161234567"
_PAYLOAD = {"id": 7, "phone": _NUMBER, "callTime": "2026-01-10 12:00:00"}
_HOLDING = "SELECT count(*) FROM callkeeper_webhooks WHERE convert_from(body, 'UTF8') LIKE %s"


def test_a_number_in_another_machines_spool_is_named_and_reached(
    installation: Installation, tmp_path: Path
) -> None:
    elsewhere = Installation(tmp_path / "elsewhere", installation.database)
    with elsewhere.receiving() as far:
        with installation.database_away():
            far.wait_for_database("away")
            assert far.post(_PAYLOAD) == 200
            # Its machine goes down before the database is back.
            far.kill()
        ended = installation.callkeeper("forget", _NUMBER)
        assert ended.returncode == 1
        assert "The receiver on " in ended.stderr + ended.stdout
        assert "of callkeeper_receivers" in ended.stderr + ended.stdout
        with elsewhere.receiving() as again:
            wait_until(
                lambda: again.health().document["spooled"] == 0, "it is drained", PATIENCE_SEC
            )
            assert installation.query(_HOLDING, f"%{_NUMBER}%") == [(1,)]
            ended = installation.callkeeper("forget", _NUMBER)
            assert ended.returncode == 0, ended.stderr
            assert installation.query(_HOLDING, f"%{_NUMBER}%") == [(0,)]
            assert again.stop() == 0
    assert installation.query("SELECT count(*) FROM callkeeper_receivers") == [(0,)]
