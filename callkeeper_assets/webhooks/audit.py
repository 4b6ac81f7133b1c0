"""The audit of webhooks: what the source says it sent, held against what the inbox holds.

A pure comparison, call by call. The source lists each webhook of a call in `hooks`, with the answer
that it saw; the inbox counts payloads by call and event. Webhooks of one call and event are alike:
if fewer came than were sent, the last ones are the lost ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

Kind = Literal["lost", "refused"]
# Payloads in the inbox: by call id, by event.
Held = Mapping[int, Mapping[str | None, int]]

_CALLBACK: Final = "callback"


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
    kind: Kind
    is_held: bool


@dataclass(frozen=True)
class AuditedDay:
    """What the audit of one day came to.

    Attributes:
        sent: Webhooks that the source says it sent to us.
        found: Those that are lost or were refused.
    """

    day: date
    sent: int
    found: tuple[LostWebhook, ...]

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
    folder, _, _ = parts.path.rpartition("/")
    return folder.endswith(f"/webhooks/{source}") and (host is None or found == host.lower())


def read_hooks(call_id: int, payload: str, source: str, host: str | None) -> Iterator[Hook]:
    """Yield what a raw call says was sent to our address.

    Raises:
        msgspec.DecodeError: The payload is no JSON.
    """
    if '"hooks"' not in payload:
        return
    call = _decode_call(payload)
    for position, listed in enumerate(call.hooks if isinstance(call.hooks, list) else ()):
        try:
            hook = msgspec.convert(listed, _Hook)
        except msgspec.ValidationError:
            continue
        if is_ours(str(hook.hookAddress or ""), source, host):
            yield Hook(
                call_id=call_id,
                position=position,
                event=_text(hook.hookEventName),
                method=_text(hook.hookMethod),
                status=_status(hook.hookResponseStatus),
                has_id=call.serviceType == _CALLBACK,
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
    named = {hook.event for hook in hooks}
    by_call: dict[int, list[Hook]] = {}
    for hook in hooks:
        by_call.setdefault(hook.call_id, []).append(hook)
    found = [
        lost
        for call_id, sent in by_call.items()
        for lost in _find_of_call(sent, Counter(held.get(call_id, {})), named)
    ]
    return sorted(found, key=lambda lost: (lost.hook.call_id, lost.hook.position))


def _find_of_call(
    sent: Sequence[Hook], held: Counter[str | None], named: Iterable[str | None]
) -> Iterator[LostWebhook]:
    came = Counter(held)
    # What came under a name that the list does not use may be any of the call's.
    spare = sum(count for event, count in held.items() if event not in named)
    # Those whose answer was good came first of all; those without an answer may have come.
    for hook in sorted(sent, key=lambda hook: (not hook.is_accepted, hook.position)):
        if hook.is_refused:
            yield LostWebhook(hook, "refused", is_held=bool(came[hook.event]))
        elif held[hook.event] > 0:
            held[hook.event] -= 1
        elif spare > 0:
            spare -= 1
        elif hook.has_id:
            yield LostWebhook(hook, "lost", is_held=False)
