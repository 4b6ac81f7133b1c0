"""Tells that the database is away, which is where everything else is told from.

What was told, and to whom, is a small file in the home until the database is back: a restart
meanwhile tells nothing twice. Then it becomes a cause like others, whose end is told as theirs are.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from callkeeper_assets.alerts.facts import look_at_machine, read_sql
from callkeeper_assets.alerts.findings import AWAY, Finding
from callkeeper_assets.alerts.plans import CALM, REPEATED, Change, State, is_patient
from callkeeper_assets.alerts.sending import Parcel, UndeliveredError
from callkeeper_assets.alerts.settings import Channel, Language
from callkeeper_assets.alerts.store import HARDLY_ANY, Connection, describe_change
from callkeeper_assets.alerts.texts import compose, remark_again, tell
from callkeeper_assets.home import home, make_folder
from callkeeper_assets.privacy.redaction import excerpt

Send = Callable[[Channel, Parcel], None]

_SENDING: Final = "sending"
_SENT: Final = "sent"
_MOMENTS: Final = frozenset({"since", "told_at", "told_before", "returned_at"})


def _forget_future(known: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Have nothing wait until a clock that was set back has caught up, as `store.forget_future`."""
    return {
        name: now.isoformat()
        if name in _MOMENTS and value and datetime.fromisoformat(value) > now + HARDLY_ANY
        else value
        for name, value in known.items()
    }


class DatabaseAway:
    """What is known of it on this machine; a process that starts goes on where one ended."""

    def __init__(self, send: Send, language: Language) -> None:
        self._send = send
        self._language = language
        self._file = home() / "alerts" / "database_away.json"
        self._known = self._read()
        # On a full disk it is known here alone.
        self._is_unwritten = False

    def note(self, reason: str, channels: Sequence[Channel], now: datetime) -> bool:
        """Note that the database is away; tell it if it has been for long. Return whether all know.

        A channel that does not take it is tried again the next time.
        """
        with self._to_oneself(now):
            known = self._known or {"since": now.isoformat(), "key": str(uuid.uuid4()), "told": {}}
            known.pop("returned_at", None)
            told_at = known.get("told_at")
            if told_at and now - datetime.fromisoformat(told_at) >= REPEATED:
                known |= {"key": str(uuid.uuid4()), "told": {}, "told_at": None}
                known["told_before"] = told_at
            self._write(known)
            since = datetime.fromisoformat(known["since"])
            if now - since < is_patient(AWAY):
                return True
            state: State = "lasts" if known.get("told_before") else "began"
            change = Change(state, self._build(reason, since), since, None)
            for channel in channels:
                self._tell(channel, change, now)
            return bool(channels) and all(
                self._told().get(channel.name) == _SENT for channel in channels
            )

    def note_return(self, connection: Connection, now: datetime) -> None:
        """Make of it a cause that was told, or nothing if it was not; in a transaction."""
        with self._to_oneself(now):
            known = self._known
        told_at = self._find_told_at()
        if known is None or told_at is None or "returned_at" in known:
            return
        since = datetime.fromisoformat(known["since"])
        finding = self._build(str(known.get("reason") or ""), since)
        values = {
            "kind": finding.kind,
            "subject": finding.subject,
            "place": finding.place,
            "severity": finding.severity,
            "since": since,
            "values": json.dumps(dict(finding.values)),
            "text": tell(finding).text,
            "told_at": datetime.fromisoformat(told_at),
            "now": now,
        }
        connection.execute(read_sql("adopt"), values)

    def forget(self, now: datetime) -> None:
        """Forget it, once that transaction is committed; what was told when it is surely over.

        A database that goes again before is the same outage: it is not told anew.
        """
        if self._known is None:
            return
        with self._to_oneself(now):
            known = self._known or {}
            returned_at = known.get("returned_at")
            if self._find_told_at() and returned_at is None:
                self._write({**known, "returned_at": now.isoformat()})
            elif returned_at is None or now - datetime.fromisoformat(returned_at) >= CALM:
                self._file.unlink(missing_ok=True)
                self._known, self._is_unwritten = None, False

    @contextmanager
    def _to_oneself(self, now: datetime) -> Iterator[None]:
        """Know what is known now, and change it alone among this home's processes."""
        try:
            make_folder(self._file.parent)
            folder = os.open(self._file.parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not self._is_unwritten:
                self._known = self._read()
            if self._known and (known := _forget_future(self._known, now)) != self._known:
                self._write(known)
            yield
        finally:
            os.close(folder)

    def _find_told_at(self) -> str | None:
        known = self._known or {}
        return cast("str | None", known.get("told_at") or known.get("told_before"))

    def _tell(self, channel: Channel, change: Change, now: datetime) -> None:
        state = self._told().get(channel.name)
        if state == _SENT:
            return
        finding = change.finding
        message = compose([change], finding.place, self._language)
        body = remark_again(message.body, self._language) if state == _SENDING else message.body
        document = {
            "machine": finding.place,
            "at": now.isoformat(),
            "alerts": [describe_change(change, None, self._language)],
        }
        parcel = Parcel(f"{self._known_key()}-{channel.name}", message.title, body, document)
        self._mark(channel, _SENDING)
        try:
            self._send(channel, parcel)
        except UndeliveredError:
            self._mark(channel, None)
        else:
            self._mark(channel, _SENT, now, str(finding.values["reason"]))

    def _build(self, reason: str, since: datetime) -> Finding:
        machine = look_at_machine()
        values: dict[str, str | int] = {"reason": excerpt(reason), "spooled": machine.spooled}
        return Finding(AWAY, "database", "error", since, values, machine.name)

    def _known_key(self) -> str:
        return str((self._known or {})["key"])

    def _told(self) -> dict[str, str]:
        return cast("dict[str, str]", (self._known or {}).get("told", {}))

    def _mark(
        self, channel: Channel, state: str | None, now: datetime | None = None, reason: str = ""
    ) -> None:
        known = dict(self._known or {})
        told = {name: kept for name, kept in self._told().items() if name != channel.name}
        if state:
            told[channel.name] = state
        known["told"] = told
        if now:
            known |= {"told_at": known.get("told_at") or now.isoformat(), "reason": reason}
        self._write(known)

    def _read(self) -> dict[str, Any] | None:
        try:
            document = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) and "since" in document else None

    def _write(self, known: dict[str, Any]) -> None:
        """Write the file: on disk before anything is sent."""
        self._known = known
        try:
            make_folder(self._file.parent)
            beside = Path(f"{self._file}.new")
            with beside.open("w", encoding="utf-8") as file:
                json.dump(known, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._file)
        except OSError:
            self._is_unwritten = True
        else:
            self._is_unwritten = False
