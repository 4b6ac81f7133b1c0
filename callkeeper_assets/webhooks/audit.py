"""The audit of webhooks: what the source says it sent, compared with the inbox, by day."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.accounts import make_account
from callkeeper_assets.webhooks.inbox_queries import read_sql
from callkeeper_assets.webhooks.raw_call import is_known_event, normalise_event

LossKind = Literal["lost", "refused"]
# Payloads in the inbox, by call id.
Held = Mapping[int, Sequence["HeldPayload"]]

_CALLBACK: Final = "callback"


@dataclass(frozen=True, slots=True)
class HeldPayload:
    """A payload in the inbox; `event` as received, `comings` with its repeats."""

    event: str | None
    comings: int


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook that the source says it sent to our address.

    Attributes:
        call_id: As in callkeeper_calls.
        position: Its place in the call's list, from 0.
        event: As the source names it; None if it does not.
        status: Of the answer that the source saw; None if it saw none.
        has_id: Whether its payload names the call: those of other services than callback do not.
    """

    call_id: int
    position: int
    event: str | None
    method: str | None
    status: int | None
    has_id: bool

    @property
    def is_accepted(self) -> bool:
        """Whether the answer was 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's 2xx

    @property
    def is_refused(self) -> bool:
        """Whether there was an answer, and another one than 2xx."""
        return self.status is not None and not self.is_accepted


@dataclass(frozen=True, slots=True)
class LostWebhook:
    """One that the inbox does not hold, or that the receiver is said to have refused."""

    hook: Hook
    kind: LossKind
    is_held: bool


@dataclass(frozen=True)
class AuditedDay:
    """What the audit of one day came to.

    Attributes:
        sent: Webhooks that the source says it sent to us.
        found: Those that are lost or were refused.
        is_listed: Whether the source lists webhooks at all: where not, nothing was audited. None
            on a day without calls.
    """

    day: date
    sent: int
    found: tuple[LostWebhook, ...]
    is_listed: bool | None

    @property
    def lost(self) -> int:
        """How many the inbox does not hold, whatever the answer was."""
        return sum(not one.is_held for one in self.found)

    @property
    def refused(self) -> int:
        """How many were answered with anything but 2xx."""
        return sum(one.kind == "refused" for one in self.found)


@dataclass(frozen=True)
class DayLoss:
    """One audited day on which webhooks were sent."""

    day: date
    sent: int
    lost: int


class _Hook(msgspec.Struct):
    hookEventName: Any = None  # noqa: N815 - the API's name
    hookAddress: Any = None  # noqa: N815
    hookMethod: Any = None  # noqa: N815
    hookResponseStatus: Any = None  # noqa: N815


class _Call(msgspec.Struct):
    serviceType: Any = None  # noqa: N815
    hooks: Any = None


_decode_call = msgspec.json.Decoder(_Call).decode


def rate_loss(sent: int, lost: int) -> float:
    """Return which share of the webhooks sent is lost."""
    return lost / sent if sent else 0.0


def is_ours(address: str, source: str, host: str | None) -> bool:
    """Whether an address is that of the source's webhooks at this receiver.

    Args:
        address: As the source lists it; its token is masked.
        source: The source's name.
        host: Under which the receiver is reached; None if that is not configured: any will do.
    """
    try:
        parts = urlsplit(address)
        found = parts.hostname
    except ValueError:
        return False
    # Host and path are typed apart in the cabinet: slashes come doubled, and at the end.
    path = "/".join(filter(None, parts.path.split("/")))
    folder, _, _ = f"/{path}".rpartition("/")
    return folder.endswith(f"/webhooks/{source}") and (host is None or found == host.lower())


def read_hooks(call_id: int, payload: str, source: str, host: str | None) -> list[Hook] | None:
    """Return what a raw call says was sent to our address; None if it lists no webhooks at all.

    Raises:
        msgspec.DecodeError: The payload is no JSON.
    """
    if '"hooks"' not in payload:
        return None
    call = _decode_call(payload)
    if call.hooks is None:
        return None
    listed = call.hooks if isinstance(call.hooks, list) else ()
    return list(_read_listed(call_id, listed, source, host, has_id=call.serviceType == _CALLBACK))


def _read_listed(
    call_id: int, listed: Sequence[Any], source: str, host: str | None, *, has_id: bool
) -> Iterator[Hook]:
    for position, one in enumerate(listed):
        try:
            hook = msgspec.convert(one, _Hook)
        except msgspec.ValidationError:
            continue
        if is_ours(str(hook.hookAddress or ""), source, host):
            yield Hook(
                call_id=call_id,
                position=position,
                event=_text(hook.hookEventName),
                method=_text(hook.hookMethod),
                status=_status(hook.hookResponseStatus),
                has_id=has_id,
            )


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _status(value: object) -> int | None:
    """Read a status given as a number or as text; the source writes 0 where there was no answer."""
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and 0 < int(text) < 1_000 else None  # noqa: PLR2004


def find_lost(hooks: Sequence[Hook], held: Held) -> list[LostWebhook]:
    """Return those that are lost or were refused, by call and position.

    Args:
        hooks: Of one day or of several, all that were sent to us.
        held: What the inbox holds of their calls, repeats counted.
    """
    by_call: dict[int, list[Hook]] = {}
    for hook in hooks:
        by_call.setdefault(hook.call_id, []).append(hook)
    found = [
        lost
        for call_id, sent in by_call.items()
        for lost in _find_of_call(sent, held.get(call_id, ()))
    ]
    return sorted(found, key=lambda lost: (lost.hook.call_id, lost.hook.position))


def _find_of_call(sent: Sequence[Hook], held: Sequence[HeldPayload]) -> Iterator[LostWebhook]:
    came = _count_comings(sent, held)
    left = Counter(came)
    # Those whose answer was good came first of all; those without an answer may have come.
    for hook in sorted(sent, key=lambda hook: (not hook.is_accepted, hook.position)):
        event = normalise_event(hook.event)
        if hook.is_refused:
            yield LostWebhook(hook, "refused", is_held=bool(came[event]))
        elif left[event] > 0:
            left[event] -= 1
        elif hook.has_id:
            yield LostWebhook(hook, "lost", is_held=False)


def _count_comings(sent: Sequence[Hook], held: Sequence[HeldPayload]) -> Counter[str | None]:
    """Count what came of a call, by event as listed.

    A payload under a name that neither the list nor anybody knows may be any event's. But one only:
    it came again under the same name, and hides no other one's loss.
    """
    wanted = Counter(normalise_event(hook.event) for hook in sent)
    came: Counter[str | None] = Counter()
    unnamed: list[int] = []
    for payload in held:
        event = normalise_event(payload.event)
        if event in wanted or is_known_event(event):
            came[event] += payload.comings
        else:
            unnamed.append(payload.comings)
    for comings in sorted(unnamed, reverse=True):
        event = max(wanted, key=lambda name: wanted[name] - came[name])
        came[event] += comings
    return came


@dataclass(frozen=True)
class AuditStatus:
    """How the audited days of a source stand since a day.

    Attributes:
        last: When one was audited last.
        days_listed: Days for whose calls the source lists webhooks.
        days_unlisted: Days with calls for which it lists none at all: they were not audited.
    """

    last: datetime
    sent: int
    lost: int
    refused: int
    days_listed: int
    days_unlisted: int


def read_held(url: str, name: str, call_ids: Collection[int]) -> dict[int, list[HeldPayload]]:
    """Return the payloads that the inbox holds of each call."""
    held: dict[int, list[HeldPayload]] = {}
    with connect(url) as connection:
        values = {"name": name, "call_ids": list(call_ids)}
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("held"), values).fetchall()
    for call_id, event, comings in rows:
        held.setdefault(call_id, []).append(HeldPayload(event, comings))
    return held


def write_audit(url: str, name: str, days: Sequence[AuditedDay], run_id: str) -> None:
    """Bring the records of these days to what was found; makes the source's account if need be."""
    with connect(url) as connection:
        make_account(connection, name)
        for day in days:
            values: dict[str, object] = {
                "name": name,
                "day": day.day,
                "sent": day.sent,
                "lost": day.lost,
                "refused": day.refused,
                "is_listed": day.is_listed,
                "run_id": run_id,
                "call_ids": [one.hook.call_id for one in day.found],
                "positions": [one.hook.position for one in day.found],
                "events": [one.hook.event for one in day.found],
                "methods": [one.hook.method for one in day.found],
                "statuses": [one.hook.status for one in day.found],
                "kinds": [one.kind for one in day.found],
                "are_held": [one.is_held for one in day.found],
            }
            for statement in ("audit_day", "audit_gone", "audit_lost"):
                connection.execute(read_sql(statement), values)


def read_losses(url: str, name: str, first: date, last: date) -> list[DayLoss]:
    """Return the audited days of [first, last] on which webhooks were sent, sorted."""
    values = {"name": name, "first": first, "last": last}
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("losses"), values).fetchall()
    return [DayLoss(*row) for row in rows]


def audit_statuses(url: str, names: Collection[str], since: date) -> Mapping[str, AuditStatus]:
    """Return how the audit stands, of those of the named sources that were audited since a day."""
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            read_sql("audit_status"), {"names": list(names), "since": since}
        ).fetchall()
    return {name: AuditStatus(*values) for name, *values in rows}
