"""Rewrites a call's JSON: as a source's rule says, or, of a forgotten client, without the person.

A call is walked through as values with their meaning. Also: whether a call is one client's, and
what becomes of another's call that mentions a forgotten client. The exact form; `quick` does the
usual calls and must agree with it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from callkeeper_assets.privacy.fields import (
    Kind,
    Piece,
    build_kinds,
    find_kind_of_unknown,
    read_field,
)
from callkeeper_assets.privacy.numbers import (
    ERASED,
    Address,
    NumberSpan,
    could_hold_number,
    erase_numbers,
    find_in_view,
    find_numbers,
    find_sure,
    find_sure_in_view,
    fold,
    has_address,
    has_number,
    list_readings,
    may_have,
    read_addresses,
    read_digits,
    readings,
    want,
)
from callkeeper_assets.privacy.quick import QuickProtector
from callkeeper_assets.privacy.rule import (
    PhoneAction,
    Rule,
    hash_number,
    is_masked,
    mask_agent,
    mask_number,
    protect_address,
    protect_agent,
    protect_number,
    protect_recording,
    replace_places,
)
from callkeeper_assets.raw import document
from callkeeper_assets.raw.document import encode, read_visit_text

# They stand behind a slash, and have as many digits as numbers have.
_VERSION: Final = re.compile(r"/[0-9][0-9._]*")

# Gets a value, its text, and what it is; gives what is put in its place.
Visit = Callable[[Any, str, Kind], Any]

# In place of a value: it is taken out, and what it leaves empty with it.
GONE: Final = object()

__all__ = ("GONE", "NOTHING", "Eraser", "NotJsonError", "Protector", "Scope", "Walk", "decode")

# What is left of a forgotten call: nothing of the client, or, where the number only stands in a
# text of somebody else's call, nothing that looks like a number.
Scope = Literal["client", "mention"]

_ERASED_KINDS: Final = frozenset(
    ("client_phone", "address", "agent", "recording", "visitor", "words")
)
_NOT_TEXTS: Final = frozenset(("client_phone", "manager_phone", "plain", "identity"))
_OPEN: Final = frozenset(("unknown", "name"))
NOTHING: Final = b"{}"  # what is left of a call that cannot be read

# As whose a number stands in a call: its client's, somebody's in a text, or only its manager's.
NumberRole = Literal["client", "mention", "manager"]

_ORDER: tuple[NumberRole, ...] = ("client", "mention", "manager")
_HIDDEN_DIGITS = 4


def erase_in_anothers(text: str, kind: Kind) -> str:
    """Return a text of another's call without numbers; the same if there is none."""
    if kind == "agent":
        plain = _VERSION.sub("/", text)
        return text if erase_numbers(plain) == plain else mask_agent(text)
    if kind == "visitor":
        # Ids of a browser are long numbers: only what is surely a phone's goes.
        return replace_places(text, ((one, ERASED) for one in find_sure(text, also_bare=True)))
    if kind == "address" and has_address(text):
        return text
    return erase_numbers(text)


class NotJsonError(ValueError):
    """What should be a call is not JSON."""


def decode(payload: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON text's value; its numbers keep their characters.

    Raises:
        NotJsonError: It is none.
    """
    try:
        return document.decode(payload)
    except (ValueError, RecursionError):
        raise NotJsonError from None


class Walk:
    """Visits each value of a call that is no object and no list, and puts the answer in its place.

    A text that is JSON itself, as forms have it, is visited as what it says; so is a cookie of the
    visit, whose fields the loader reads as those of the object. A name in which a
    number may stand is visited as well, as a text of the kind `name`.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds

    def visit(self, node: Any, visit: Visit, path: str = "") -> Any:  # noqa: ANN401
        """Return the call rewritten; `visit` gets a value, its text and what it is."""
        kind = type(node)
        if kind is dict:
            return self._visit_object(node, visit, path)
        if kind is list:
            kept = [one for each in node if (one := self.visit(each, visit, path)) is not GONE]
            return GONE if node and not kept else kept
        if node is None:
            return None
        text = node if kind is str else _spell(node)
        inner = _read_inner(text) if text[:1] in ("{", "[") else read_visit_text(path, text)
        if inner is not None:
            rewritten = self.visit(inner, visit, path)
            return GONE if rewritten is GONE else document.encode(rewritten).decode()
        return visit(node, text, self._kinds.get(path) or find_kind_of_unknown(path, text))

    def _visit_object(self, node: dict[str, Any], visit: Visit, path: str) -> Any:  # noqa: ANN401
        prefix = f"{path}." if path else ""
        kept: dict[str, Any] = {}
        for name, value in node.items():
            rewritten = self.visit(value, visit, prefix + name)
            if rewritten is not GONE:
                kept[self._visit_name(name, visit, prefix, kept)] = rewritten
        return GONE if node and not kept else kept

    def _visit_name(self, name: str, visit: Visit, prefix: str, taken: Mapping[str, Any]) -> str:
        if not could_hold_number(name) or prefix + name in self._kinds:
            return name
        given = visit(name, name, "name")
        new = given if isinstance(given, str) else "***"
        while new != name and new in taken:
            new += "'"
        return new


def _spell(value: object) -> str:
    # A number given as 79161234567.0 is that number.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_inner(text: str) -> Any:  # noqa: ANN401
    try:
        inner = document.decode(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None


@dataclass
class _Known:
    """What one look through a call found.

    Attributes:
        clients: by what a number in a client's field can mean, what it most likely means.
        managers: likewise, of the company's own fields.
        addresses: of address fields.
    """

    clients: dict[str, str] = field(default_factory=dict)
    managers: dict[str, str] = field(default_factory=dict)
    addresses: set[Address] = field(default_factory=set)


class Protector:
    """Applies a source's rule to its calls.

    Nearly all calls are rewritten by `QuickProtector`; this is what is true of the others.

    Args:
        rule: The source's.
        renamed: By path in a raw call, the name under which its webhooks have it.
    """

    def __init__(self, rule: Rule, renamed: Mapping[str, str] | None = None) -> None:
        self.rule = rule
        self._walk = Walk(build_kinds(renamed or {}))
        self._quick = QuickProtector(rule, build_kinds(renamed or {}))

    def protect(self, payload: bytes) -> bytes:
        """Return a call's JSON as the rule wants it, written anew; without a rule the same object.

        Raises:
            NotJsonError: It is not JSON.
        """
        if not self.rule.is_active:
            return payload
        quick = self._quick.protect(payload)
        return self._protect_closely(decode(payload)) if quick is None else quick

    def protect_all(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Do as `protect` does to each, in less time; None stands for what is not JSON."""
        if not self.rule.is_active:
            return list(payloads)
        quick = self._quick.protect_all(payloads)
        return [
            self._protect_if_json(payload) if done is None else done
            for payload, done in zip(payloads, quick, strict=True)
        ]

    def _protect_if_json(self, payload: bytes) -> bytes | None:
        try:
            return self._protect_closely(decode(payload))
        except NotJsonError:
            return None

    def _protect_closely(self, document: Any) -> bytes:  # noqa: ANN401 -- JSON
        known = _Known()
        try:
            self._walk.visit(document, partial(self._note, known))
            return encode(self._walk.visit(document, partial(self._protect, known)))
        except RecursionError:
            raise NotJsonError from None

    def protect_record(self, payload: bytes) -> bytes:
        """As `protect`, of what came in a call's place: no object is anybody's text."""
        if payload[:1] != b"{":
            text = payload.decode("utf-8", "replace")
            return self.protect_unreadable(text).encode() if self.rule.is_active else payload
        try:
            return self.protect(payload)
        except NotJsonError:
            return NOTHING

    def protect_unreadable(self, text: str) -> str:
        """Return a text that is no call, with all masked that looks like a number or an address."""
        # Whose number it is cannot be known.
        if (self.rule.phones, self.rule.manager_phones) != ("keep", "keep"):
            text = erase_numbers(text)
        return self._replace_addresses(text) if self.rule.ips != "keep" else text

    def _note(self, known: _Known, value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
        if kind in ("client_phone", "manager_phone"):
            numbers = known.clients if kind == "client_phone" else known.managers
            for one in read_field(text).numbers:
                numbers |= dict.fromkeys(one, one[0])
        elif kind == "address" and self.rule.ips != "keep":
            known.addresses |= {address for _, address in read_addresses(fold(text))}
        return value

    def _protect(self, known: _Known, value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
        rule = self.rule
        changed = text
        if kind == "client_phone":
            changed = protect_number(text, rule.phones, rule.key, is_client=True)
        elif kind == "manager_phone":
            changed = protect_number(
                text, rule.manager_phones, rule.key, choose=partial(self._choose, known)
            )
        elif kind == "address":
            changed = protect_address(text, rule.ips)
        elif kind == "agent":
            changed = protect_agent(text, rule.user_agents)
        elif kind == "recording":
            changed = protect_recording(text, rule.recordings)
        if kind != "client_phone" and not (kind == "identity" and text.isdecimal()):
            changed = self._protect_text(changed, kind, known)
        return value if changed == text else changed

    def _choose(self, known: _Known, piece: Piece) -> PhoneAction:
        # A client's number is the client's in a manager's field as well.
        is_client = not known.clients.keys().isdisjoint(piece.readings)
        return self.rule.phones if is_client else self.rule.manager_phones

    def _protect_text(self, text: str, kind: Kind, known: _Known) -> str:
        if could_hold_number(text):
            text = self._hide_numbers(text, kind, known)
        if self.rule.ips == "keep" or kind == "address":
            return text
        found = list(read_addresses(fold(text)))
        if any(address in known.addresses for _, address in found) or (
            kind in _OPEN and found and _is_covered(text, (place for place, _ in found))
        ):
            text = self._replace_addresses(text)
        return text

    def _hide_numbers(self, text: str, kind: Kind, known: _Known) -> str:
        view = fold(text)
        hidden: list[tuple[NumberSpan, str]] = []
        for key, number, action in self._list_sought(known, kind):
            hidden += [
                (one, self._hide(text, one, action, number)) for one in find_in_view(view, key)
            ]
        if self.rule.phones != "keep" and kind != "manager_phone":
            kept = known.managers.keys() - known.clients.keys()
            for place, written in find_sure_in_view(view, also_bare=kind in _OPEN):
                found = list_readings(written)
                if self.rule.manager_phones != "keep" or kept.isdisjoint(found):
                    hidden.append((place, self._hide(text, place, self.rule.phones, found[0])))
        return replace_places(text, hidden)

    def _list_sought(self, known: _Known, kind: Kind) -> Iterator[tuple[str, str, PhoneAction]]:
        """Yield what to look for in a text, what it most likely means, and what becomes of it."""
        if self.rule.phones != "keep":
            for key, number in known.clients.items():
                yield key, number, self.rule.phones
        if self.rule.manager_phones != "keep" and kind != "manager_phone":
            for key, number in known.managers.items():
                if key not in known.clients:
                    yield key, number, self.rule.manager_phones

    def _hide(self, text: str, place: NumberSpan, action: PhoneAction, number: str) -> str:
        if action == "hash":
            return hash_number(number, self.rule.key)
        return mask_number(text[place.start : place.end])

    def _replace_addresses(self, text: str) -> str:
        return replace_places(
            text,
            (
                (place, protect_address(text[place.start : place.end], self.rule.ips))
                for place, _ in read_addresses(fold(text))
            ),
        )


def _is_covered(text: str, places: Iterable[NumberSpan]) -> bool:
    """Whether there is nothing but signs beside the places."""
    return not any(one.isalnum() for one in replace_places(text, ((one, "") for one in places)))


class Eraser:
    """Takes the person out of calls whose client was forgotten.

    The result depends on the call alone, not on the number that was asked for: so a call that comes
    again becomes the same, although nobody remembers the number.

    Args:
        renamed: As for `Protector`.
    """

    def __init__(self, renamed: Mapping[str, str] | None = None) -> None:
        self._walk = Walk(build_kinds(renamed or {}))

    def erase(self, payload: bytes, scope: Scope) -> bytes:
        """Return what is left of a call, written anew.

        Raises:
            NotJsonError: It is not JSON.
        """
        return encode(self.erase_document(decode(payload), scope))

    def erase_document(self, document: Any, scope: Scope) -> Any:  # noqa: ANN401
        """Return a decoded call rewritten."""
        if scope == "mention":
            return self._rewrite(document, _erase_mention)
        numbers: set[str] = set()

        def note_number(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
            if kind == "client_phone":
                numbers.update(*read_field(text).numbers)
            return value

        self._walk.visit(document, note_number)

        def visit(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
            if kind == "manager_phone":
                found = read_field(text).numbers
                return value if all(numbers.isdisjoint(one) for one in found) else None
            if kind in ("plain", "identity"):
                places = find_numbers(text) if could_hold_number(text) else []
                return value if all(numbers.isdisjoint(one.keys) for one in places) else None
            return _erase_value(value, text, kind)

        return self._rewrite(document, visit)

    def _rewrite(self, document: Any, visit: Visit) -> Any:  # noqa: ANN401
        rewritten = self._walk.visit(document, visit)
        return {} if rewritten is GONE else rewritten


def _erase_value(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
    if kind == "unknown":
        # What an undeclared field says of the client nobody can know.
        return GONE
    if kind in _ERASED_KINDS:
        return None
    if kind == "page":
        # Queries have click ids, which are a visitor's, and whatever a form was filled with.
        return erase_numbers(_without_query(text))
    return erase_numbers(text) if kind in ("text", "name") else value


def _erase_mention(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
    if kind in _NOT_TEXTS:
        return value
    changed = erase_in_anothers(text, kind)
    return value if changed == text else changed


def _without_query(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return parts._replace(query="", fragment="").geturl()


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
        number: As `normalise_number` returns it.
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

    def find_role(self, payload: str) -> NumberRole | None:
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

    def find_role_in(self, document: Any) -> NumberRole | None:  # noqa: ANN401 -- JSON
        """As `find_role`, of a decoded call."""
        found: set[NumberRole] = set()

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
