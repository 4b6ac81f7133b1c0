"""Whether a call is one client's: where in it a phone number stands, in any writing or hashed."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from callkeeper_assets.privacy.fields import Kind, build_kinds
from callkeeper_assets.privacy.numbers import (
    has_number,
    may_have,
    read_digits,
    readings,
)
from callkeeper_assets.privacy.plans import want
from callkeeper_assets.privacy.rule import is_masked
from callkeeper_assets.privacy.walking import NotJsonError, Walk, decode

# As whose a number stands in a call: its client's, somebody's in a text, or only its manager's.
Role = Literal["client", "mention", "manager"]

_ORDER: tuple[Role, ...] = ("client", "mention", "manager")
_HIDDEN_DIGITS = 4


def gather(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with all values of each name: of one that stands twice a list of them."""
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _read_all(payload: str) -> Any:  # noqa: ANN401 -- JSON
    try:
        return json.loads(payload.removeprefix("\ufeff"), object_pairs_hook=gather)
    except (ValueError, RecursionError):
        return None


class Seeker:
    """Looks for one number.

    Args:
        number: As `normalise` returns it.
        tokens: What hashing makes of it; none where nothing is hashed.
        renamed: As for `rewriting.Protector`.
    """

    def __init__(
        self, number: str, tokens: Collection[str], renamed: Mapping[str, str] | None = None
    ) -> None:
        self.number = number
        self.tokens = tuple(tokens)
        self._cores = (want(number).core,)
        self._walk = Walk(build_kinds(renamed or {}))

    def is_in(self, text: str) -> bool:
        """Whether the number, or its token, stands in a text."""
        if any(token in text for token in self.tokens):
            return True
        return may_have(text, self._cores) and has_number(text, self.number)

    def may_be_in(self, text: str) -> bool:
        """Whether `is_in` may be true of a text; faster, for much text."""
        return may_have(text, self._cores) or any(one in text for one in self.tokens)

    def find_role(self, payload: str) -> Role | None:
        """Return as whose the number stands in a call's JSON; None if it does not."""
        # Most calls are others': this is all that is done with them.
        if not self.may_be_in(payload):
            return None
        try:
            document = decode(payload.encode())
        except NotJsonError:
            return "mention" if self.is_in(payload) else None
        # A name that stands twice is rare, and its first value is stored as well.
        return self.find_role_in(document) or self.find_role_in(_read_all(payload))

    def find_role_in(self, document: Any) -> Role | None:  # noqa: ANN401 -- JSON
        """As `find_role`, of a decoded call."""
        found: set[Role] = set()

        def visit(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
            if kind in ("client_phone", "manager_phone"):
                if self.number in readings(text) or self.is_in(text):
                    found.add("client" if kind == "client_phone" else "manager")
            elif kind not in ("plain", "identity") and self.is_in(text):
                found.add("mention")
            return value

        self._walk.visit(document, visit)
        return next((role for role in _ORDER if role in found), None)

    def could_be_in(self, payload: str) -> bool:
        """Whether a call's JSON has a client whose masked number can be this one."""
        found = False

        def visit(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401 -- JSON
            nonlocal found
            found = found or (kind == "client_phone" and self.could_be(text))
            return value

        try:
            self._walk.visit(decode(payload.encode()), visit)
        except NotJsonError:
            return False
        return found

    def could_be(self, masked: str) -> bool:
        """Whether a masked number can be this one."""
        written = masked.partition("^")[0].strip()
        # As it may have been written: without the country.
        shown = self._cores[0][:-_HIDDEN_DIGITS]
        return is_masked(written) and bool(shown) and read_digits(written).endswith(shown)
