"""The events of webhooks: what payloads call them, and what the source's list of sent ones does.

The one table of both vocabularies: the audit, the last word on a call and the simulator go by it. A
manager of CallKeeper can set other scenarios, so an event may have any other name as well.
"""

from typing import Final, Literal

PayloadEvent = Literal["Call is processing", "Call is over"]
HookEvent = Literal["BEFORE_CALL_START", "AFTER_CALL_FINISH"]

PROCESSING: Final[PayloadEvent] = "Call is processing"
OVER: Final[PayloadEvent] = "Call is over"

HOOK_EVENTS: Final[dict[PayloadEvent, HookEvent]] = {
    PROCESSING: "BEFORE_CALL_START",
    OVER: "AFTER_CALL_FINISH",
}
"""By the payload's name (`hook_event`), the one in the unified API's `hooks`."""


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()


_KNOWN: Final[dict[str, PayloadEvent]] = {
    _fold(written): event for event, listed in HOOK_EVENTS.items() for written in (event, listed)
}


def normalise_event(name: str | None) -> str | None:
    """Return an event's one name, whichever vocabulary and case it came in.

    That of the payload, where the event is a known one; else as written, but for blanks and case.
    None where there is none.
    """
    folded = _fold(name or "")
    return _KNOWN.get(folded, folded) or None


def is_known_event(name: str | None) -> bool:
    """Whether a normalised event is one of the two that the source sends by default."""
    return name in HOOK_EVENTS
