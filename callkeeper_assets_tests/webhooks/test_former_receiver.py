"""A receiver of the version before, while another machine migrates the tables away from it."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callkeeper_assets.postgres.url import SETTINGS
from callkeeper_assets.warehouse import migrate
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.intake import Intake, Metrics
from callkeeper_assets.webhooks.payload import read_delivery
from callkeeper_assets.webhooks.spool import Spool
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warehouse.former import migrate_to
from callkeeper_assets_tests.warehouse.raw_days import rows
from callkeeper_assets_tests.webhooks.installation import PATIENCE_SEC

_MIGRATE = (
    "import sys; from callkeeper_assets.warehouse.migrate import ensure_schema; "
    "ensure_schema(sys.argv[1])"
)


async def _keep(intake: Intake, number: int) -> bool:
    """Give it a payload; return whether its sender is answered 200."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    delivery = read_delivery(
        "application/json",
        b"",
        b'{"id": %d}' % number,
        {},
        source="office",
        receipt=uuid.uuid4().bytes,
        received_at=datetime.now(UTC),
    )
    intake.keep(delivery, answer.set_result)
    return await answer


async def _wait_until(is_true: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, is_true, what, PATIENCE_SEC)


async def _receive(spool: Path, url: str) -> None:
    intake = Intake(Inbox(spool=spool), Spool(spool), Metrics())
    intake.start()
    await _wait_until(lambda: intake.inbox.is_connected, "it is connected")
    assert await _keep(intake, 1)
    assert intake.spooled == 0
    program = (sys.executable, "-c", _MIGRATE, url)
    await asyncio.to_thread(subprocess.run, program, check=True)
    assert await _keep(intake, 2)
    assert await _keep(intake, 3)
    assert intake.spooled == 2
    await _wait_until(lambda: not intake.inbox.is_connected, "it notices")
    await intake.stop()


async def _drain(spool: Path) -> None:
    intake = Intake(Inbox(spool=spool), Spool(spool), Metrics())
    intake.start()
    await _wait_until(lambda: intake.inbox.is_connected, "it is connected")
    await _wait_until(lambda: intake.spooled == 0, "the spool is drained")
    await intake.stop()


@from_nothing
def test_what_it_takes_meanwhile_waits_for_the_next_version(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows one schema, and no migration after its own."""
    spool = tmp_path / "spool"
    migrate_to(database, "0013")
    with monkeypatch.context() as former:
        former.setitem(SETTINGS, "search_path", "public")
        former.setattr(migrate, "HEAD", "0013")
        asyncio.run(_receive(spool, database))
    calls = "SELECT call_id FROM callkeeper_internal.callkeeper_webhooks ORDER BY id"
    assert rows(database, calls) == [(1,)]
    asyncio.run(_drain(spool))
    assert rows(database, calls) == [(1,), (2,), (3,)]
