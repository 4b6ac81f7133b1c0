"""A mistake in a `defs.yaml`: where, and words for the person who will correct it.

One form for all of them: `<file>:<line>: <attribute>: <what is wrong, what is allowed>`.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Location: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        location: Keys and indexes from the file's root; empty for the file as a whole.
        text: What is wrong, whole sentences.
    """

    location: Location
    text: str

    def describe(self) -> str:
        """The attribute as users write it, `tables[2]` or `refresh.cron`, and the text."""
        is_attribute = len(self.location) > 1 and self.location[0] == "attributes"
        location = self.location[1:] if is_attribute else self.location
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
        return f"{path.lstrip('.')}: {self.text}" if path else self.text


def suggest_name(given: str, names: Iterable[str]) -> str:
    """Ask whether the nearest of the names was meant; empty if none is near."""
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def describe_unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Say that there is no such `what`, the nearest name that exists, and all that exist."""
    names = sorted(allowed)
    return f"there is no {what} '{given}'.{suggest_name(given, names)} Allowed: {', '.join(names)}."
