"""The process that watches and tells: it looks each minute, and delivers what waits meanwhile.

It lives beside Dagster's daemon, not in it, and may run on several machines at once: each looks at
itself and at what all share, and what is told is told once (`store`). Nothing of it is lost by a
kill: what was found is found again, what was to be told stands in the outbox.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg

from callkeeper_assets.alerts.away import DatabaseAway
from callkeeper_assets.alerts.facts import (
    gather_facts,
    gather_failing_checks,
    gather_local_facts,
    name_machine,
)
from callkeeper_assets.alerts.findings import Finding, find_all, list_looked_at
from callkeeper_assets.alerts.keys import check_keys
from callkeeper_assets.alerts.plans import plan_changes
from callkeeper_assets.alerts.sending import Parcel, UndeliveredError, ping, send
from callkeeper_assets.alerts.settings import AlertSettings
from callkeeper_assets.alerts.store import (
    Audience,
    delete_old,
    forget_future,
    is_anything_untold,
    note,
    opened_causes,
    read_causes,
    taken_message,
)
from callkeeper_assets.alerts.texts import remark_again, tell
from callkeeper_assets.config.loading import BrokenSource, defs_folder, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.observed import FailingCheck
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import connect, database_url
from callkeeper_assets.privacy.redaction import excerpt
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import WarehouseError

INTERVAL_SEC: Final = 60.0
_BETWEEN_DELIVERIES_SEC: Final = 15.0
_BETWEEN_GLANCES_SEC: Final = 1.0
_STUCK_AFTER_SEC: Final = 300.0
_SHARE_OF_CHECKS: Final = 100
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one look came to.

    Attributes:
        findings: What needs a person.
        is_well: Whether all of it has been told to somebody: the address is pinged then.
    """

    findings: tuple[Finding, ...]
    is_well: bool


class _Sources:
    """The sources as they are configured now; read again when a file has changed."""

    def __init__(self) -> None:
        self._seen: object = None
        self._loaded: tuple[list[Source], list[BrokenSource]] = ([], [])

    def load(self) -> tuple[list[Source], list[BrokenSource]]:
        """Return them, and those that are refused."""
        seen = []
        for file in sorted(defs_folder().rglob("defs.yaml")):
            with suppress(FileNotFoundError):
                seen.append((file, file.stat().st_mtime_ns))
        if seen != self._seen:
            self._loaded = load_sources()
            self._seen = seen
        return self._loaded


class Watcher:
    """Looks, tells and delivers; of one process, in one thread."""

    def __init__(
        self,
        settings: AlertSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sources = _Sources()
        self._audience = Audience(settings.channels, name_machine(), settings.language)
        self._away = DatabaseAway(send, settings.language)
        self._channels = {channel.name: channel for channel in settings.channels}
        self._is_stopping = False
        self._has_looked = False
        self._seen_alive_at = time.monotonic()
        self._checks: Sequence[FailingCheck] = ()
        self._checks_due_at = 0.0
        # Delivered, and the database went before that was noted.
        self._delivered: set[str] = set()

    def look(self) -> Look:
        """Look once, write what is to be told, deliver what is due, and ping if all is well."""
        self._seen_alive_at = time.monotonic()
        sources, refused = self._sources.load()
        try:
            url = database_url()
            ensure_schema(url)
            found = self._look_at_all(url, sources, refused)
            self.deliver(url)
            look = Look(found, self._is_well(url))
        except (DatabaseError, WarehouseError) as error:
            look = self._look_without_database(sources, refused, str(error))
        except psycopg.Error as error:
            # A table that a newer Dagster has otherwise, a right that was taken away.
            reason = f"A question to it failed: {excerpt(str(error))}"
            look = self._look_without_database(sources, refused, reason)
        if look.is_well:
            self._ping()
        self._has_looked = True
        return look

    def _look_at_all(
        self, url: str, sources: list[Source], refused: list[BrokenSource]
    ) -> tuple[Finding, ...]:
        now = self._clock()
        self._look_at_checks(url, now)
        facts = gather_facts(url, sources, refused, now, self._checks)
        findings = find_all(facts)
        names = {source.name for source in sources}
        doubtful = {one.subject for one in findings if one.kind != "key_expires"} & names
        doubtful |= {job.sources for job in facts.failed_jobs} & names
        if check_keys(url, sources, doubtful):
            facts = gather_facts(url, sources, refused, now, self._checks)
            findings = find_all(facts)
        with opened_causes(url) as connection:
            forget_future(connection, now)
            self._away.note_return(connection, now)
            plan = plan_changes(
                read_causes(connection, now),
                findings,
                now,
                looked_at=list_looked_at(facts),
                machine=self._audience.machine,
            )
            note(connection, plan, self._audience, now)
            delete_old(connection, now)
        self._away.forget(now)
        for change in plan.changes:
            _logger.info("%s: %s", change.state, tell(change.finding).text)
        return tuple(findings)

    def _look_at_checks(self, url: str, now: datetime) -> None:
        """Look through the checks, as seldom as it takes long: for a hundredth of the time."""
        began = time.monotonic()
        if began >= self._checks_due_at:
            self._checks = gather_failing_checks(url, now)
            ended = time.monotonic()
            self._checks_due_at = ended + _SHARE_OF_CHECKS * (ended - began)

    def _look_without_database(
        self,
        sources: list[Source],
        refused: list[BrokenSource],
        problem: str,
    ) -> Look:
        now = self._clock()
        findings = find_all(gather_local_facts(sources, refused, now))
        # A full disk is often why.
        disks = [tell(one).text for one in findings if one.kind == "disk_full"]
        reason = " ".join([problem, *disks])
        _logger.warning("%s", reason)
        return Look(tuple(findings), self._away.note(reason, self._settings.channels, now))

    def deliver(self, url: str) -> int:
        """Deliver what is due, each channel's messages in their order; return how many it was.

        Raises:
            DatabaseError: The database cannot be reached.
        """
        delivered = 0
        while not self._is_stopping and self._deliver_one(url):
            delivered += 1
        return delivered

    @property
    def has_looked(self) -> bool:
        """Whether it has looked once."""
        return self._has_looked

    @property
    def is_alive(self) -> bool:
        """Whether it is not stuck in a look, or in a message."""
        return time.monotonic() - self._seen_alive_at < _STUCK_AFTER_SEC

    def stop(self) -> None:
        """Have it end once the message that is being sent is noted; for a signal's handler."""
        # No Event: setting one in a handler can wait for the thread that it interrupts.
        self._is_stopping = True

    def _deliver_one(self, url: str) -> bool:
        """Try one message; return whether there was one."""
        self._seen_alive_at = time.monotonic()
        with taken_message(url, self._channels) as taken:
            if taken is None:
                return False
            message = taken.message
            body = message.body
            if message.is_uncertain:
                body = remark_again(body, self._settings.language)
            parcel = Parcel(message.key, message.title, body, message.document)
            try:
                if message.key not in self._delivered:
                    send(self._channels[message.channel], parcel)
            except UndeliveredError as error:
                _logger.warning("%s: not delivered: %s", message.channel, error)
                taken.mark_failed(str(error))
            else:
                self._delivered.add(message.key)
                taken.mark_sent()
                self._delivered.discard(message.key)
                _logger.info("%s: delivered: %s", message.channel, message.title)
            return True

    def _is_well(self, url: str) -> bool:
        with connect(url) as connection:
            return not is_anything_untold(
                connection, has_channels=bool(self._channels), now=self._clock()
            )

    def _ping(self) -> None:
        if self._settings.ping_url is None:
            return
        try:
            ping(self._settings.ping_url)
        except UndeliveredError as error:
            _logger.warning("The address that is told that all is well: %s", error)

    def watch(self, interval_sec: float = INTERVAL_SEC) -> None:
        """Look again and again, until it is stopped."""
        while not self._is_stopping:
            began = time.monotonic()
            self.look()
            self._wait(began + interval_sec)

    def _wait(self, until: float) -> None:
        """Deliver meanwhile what was not taken before."""
        delivered = time.monotonic()
        while not self._is_stopping and (now := time.monotonic()) < until:
            self._seen_alive_at = now
            time.sleep(min(_BETWEEN_GLANCES_SEC, until - now))
            if now - delivered >= _BETWEEN_DELIVERIES_SEC:
                delivered = now
                self._deliver_late()

    def _deliver_late(self) -> None:
        """Deliver what was not taken before."""
        try:
            self.deliver(database_url())
        except DatabaseError as error:
            # The next look says so, if it is still away.
            _logger.info("%s", error)
