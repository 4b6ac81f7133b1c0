"""Rewrites a call's JSON: as a source's rule says, or, of a forgotten client, without the person.

The same number and address are found wherever else they stand in the call, in any writing: in a
page's address, in tags, in a field that nobody has declared. What is not personal keeps its value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from callkeeper_assets import exact_json
from callkeeper_assets.privacy.addresses import find_addresses, mask_address
from callkeeper_assets.privacy.fields import Kind, build_kinds, judge_unknown
from callkeeper_assets.privacy.numbers import (
    SHORTEST_SOUGHT,
    could_hold_number,
    erase_numbers,
    find_number,
    find_sure,
    normalise,
    split_list,
)
from callkeeper_assets.privacy.rule import (
    PhoneAction,
    Rule,
    hash_number,
    is_hidden,
    mask_number,
    protect_address,
    protect_agent,
    protect_number,
    protect_recording,
    replace_places,
)
from callkeeper_assets.warehouse.odd_calls import read_visit_text

# What is left of a forgotten call: nothing of the client, or, where the number only stands in a
# text of somebody else's call, nothing that looks like a number.
Scope = Literal["client", "mention"]

_PHONES: Final = ("client_phone", "manager_phone")
_ERASED_KINDS: Final = frozenset(
    ("client_phone", "address", "agent", "recording", "visitor", "words")
)
_FIELDS: Final = frozenset((*_PHONES, "address", "agent", "recording"))
_NOT_TEXTS: Final = frozenset(("client_phone", "manager_phone", "plain"))
_HEX: Final = frozenset("0123456789abcdefABCDEF")
NOTHING: Final = b"{}"  # what is left of a call that cannot be read

Visit = Callable[[Any, str, Kind], Any]


class NotJsonError(ValueError):
    """What should be a call is not JSON."""


def decode(payload: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON text's value; its numbers keep their characters.

    Raises:
        NotJsonError: It is none.
    """
    try:
        return exact_json.decode(payload)
    except (ValueError, RecursionError):
        raise NotJsonError from None


# In place of a value: it is taken out, and what it leaves empty with it.
GONE: Final = object()


class Walk:
    """Visits each value of a call that is no object and no list, and puts the answer in its place.

    A text that is JSON itself, as forms have it, is visited as what it says.
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
        if text[:1] in ("{", "[") and (inner := _read_inner(text)) is not None:
            rewritten = self.visit(inner, visit, path)
            return GONE if rewritten is GONE else exact_json.encode(rewritten).decode()
        return visit(node, text, self._kinds.get(path) or judge_unknown(path, text))

    def _visit_object(self, node: dict[str, Any], visit: Visit, path: str) -> Any:  # noqa: ANN401
        prefix = f"{path}." if path else ""
        kept = {
            name: rewritten
            for name, value in node.items()
            if (rewritten := self.visit(value, visit, prefix + name)) is not GONE
        }
        return GONE if node and not kept else kept


def _spell(value: object) -> str:
    # A number given as 79161234567.0 is that number.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_inner(text: str) -> Any:  # noqa: ANN401
    try:
        inner = exact_json.decode(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None


@dataclass
class _Found:
    """What one look through a call found; a slot is an object or list, and a place in it.

    Attributes:
        numbers: of phone fields, with what becomes of them.
        addresses: of address fields that do not stay.
        texts: slots of texts in which both may stand, with their kinds.
        inner: slots of texts that are JSON themselves, with what they say.
        is_changed: whether a value has another one now.
    """

    numbers: dict[str, PhoneAction] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)
    texts: list[tuple[Any, Any, Kind]] = field(default_factory=list)
    inner: list[tuple[Any, Any, Any]] = field(default_factory=list)
    is_changed: bool = False


class Protector:
    """Applies a source's rule to its calls: some tens of microseconds for each.

    Args:
        rule: The source's.
        renamed: By path in a raw call, the name under which its webhooks have it.
    """

    def __init__(self, rule: Rule, renamed: Mapping[str, str] | None = None) -> None:
        self.rule = rule
        self._kinds = build_kinds(renamed or {})
        self._actions: dict[str, PhoneAction] = {
            "client_phone": rule.phones,
            "manager_phone": rule.manager_phones,
        }

    def protect(self, payload: bytes) -> bytes:
        """Return a call's JSON as the rule wants it; the same object if nothing changed.

        Raises:
            NotJsonError: It is not JSON.
        """
        if not self.rule.is_active:
            return payload
        slot = [decode(payload)]
        found = _Found()
        try:
            self._look(slot, "", found)
        except RecursionError:
            raise NotJsonError from None
        for node, key, kind in found.texts:
            text = str(node[key])
            changed = self._protect_text(text, kind, found.numbers, found.addresses)
            if changed != text:
                node[key] = changed
                found.is_changed = True
        if not found.is_changed:
            return payload
        # The innermost were found last.
        for node, key, document in reversed(found.inner):
            node[key] = exact_json.encode(document[0]).decode()
        return exact_json.encode(slot[0])

    def _look(self, node: Any, path: str, found: _Found) -> None:  # noqa: ANN401
        """Protect the fields of an object or a list in place, and find its texts."""
        is_object = type(node) is dict
        prefix = f"{path}." if path and is_object else path
        for key, value in node.items() if is_object else enumerate(node):
            where = f"{prefix}{key}" if is_object else path
            kind = type(value)
            if kind is dict or kind is list:
                self._look(value, where, found)
            elif value is not None and kind is not bool:
                self._look_at(node, key, where, found)

    def _look_at(self, node: Any, key: Any, path: str, found: _Found) -> None:  # noqa: ANN401
        kind = self._kinds.get(path)
        if kind == "plain":
            return
        value = node[key]
        text = value if type(value) is str else _spell(value)
        if text.startswith(("{", "[")):
            inner = _read_inner(text)
        else:
            # A cookie of the visit, whose fields the loader reads as those of the object.
            inner = read_visit_text(path, text) if kind is None else None
        if inner is not None:
            document = [inner]
            found.inner.append((node, key, document))
            self._look(document, path, found)
            return
        if kind is None:
            kind = judge_unknown(path, text)
        if kind in _FIELDS:
            changed = self._protect_field(text, kind, found.numbers, found.addresses)
            if changed != text:
                node[key] = changed
                found.is_changed = True
        if kind not in _NOT_TEXTS and len(text) >= SHORTEST_SOUGHT:
            found.texts.append((node, key, kind))

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
        # Whose a number is cannot be told.
        if (self.rule.phones, self.rule.manager_phones) != ("keep", "keep"):
            text = erase_numbers(text)
        if self.rule.ips != "keep":
            text = self._replace_addresses(text)
        return text

    def _protect_field(
        self, text: str, kind: Kind, numbers: dict[str, PhoneAction], addresses: set[str]
    ) -> str:
        rule = self.rule
        if kind in _PHONES:
            action = self._actions[kind]
            for one in split_list(text):
                written = one.partition("^")[0].strip()
                number = normalise(written)
                is_sought = len(number) >= SHORTEST_SOUGHT
                # A number that both sides have is kept elsewhere only where both keep theirs.
                if is_sought and numbers.get(number, "keep") == "keep" and not is_hidden(written):
                    numbers[number] = action
            return protect_number(text, action, rule.key)
        if kind == "address":
            if rule.ips != "keep":
                addresses.update(text[one.start : one.end] for one in find_addresses(text))
            return protect_address(text, rule.ips)
        if kind == "agent":
            return protect_agent(text, rule.user_agents)
        if kind == "recording":
            return protect_recording(text, rule.recordings)
        return text

    def _protect_text(
        self, text: str, kind: Kind, numbers: Mapping[str, PhoneAction], addresses: set[str]
    ) -> str:
        if could_hold_number(text):
            text = self._hide_numbers(text, numbers, also_bare=kind == "unknown")
        is_address = kind == "unknown" and self.rule.ips != "keep" and _could_be_address(text)
        if is_address or any(one in text for one in addresses):
            text = self._replace_addresses(text)
        return text

    def _hide_numbers(
        self, text: str, numbers: Mapping[str, PhoneAction], *, also_bare: bool
    ) -> str:
        for number, action in numbers.items():
            if action != "keep":
                places = list(find_number(text, number))
                if places:
                    hide = partial(self._hide, action=action, number=number)
                    text = replace_places(text, places, hide)
        if self.rule.phones == "keep":
            return text
        kept = [number for number, action in numbers.items() if action == "keep"]
        places = [
            place
            for place in find_sure(text, also_bare=also_bare)
            if normalise(text[place.start : place.end]) not in kept
        ]
        return replace_places(text, places, partial(self._hide, action=self.rule.phones))

    def _hide(self, written: str, *, action: PhoneAction, number: str = "") -> str:
        if action == "hash":
            return hash_number(number or normalise(written.replace("%2B", "+")), self.rule.key)
        return mask_number(written)

    def _replace_addresses(self, text: str) -> str:
        places = list(find_addresses(text))
        return replace_places(text, places, lambda one: protect_address(one, self.rule.ips))


def _could_be_address(text: str) -> bool:
    # Asked of most texts, and true of hardly any.
    return text[-1:] in _HEX and ("." in text or ":" in text) and mask_address(text) is not None


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
        """Return what is left of a call; the same object if there was nothing to take out.

        Raises:
            NotJsonError: It is not JSON.
        """
        document = decode(payload)
        before = exact_json.encode(document)
        after = exact_json.encode(self.erase_document(document, scope))
        return payload if after == before else after

    def erase_document(self, document: Any, scope: Scope) -> Any:  # noqa: ANN401
        """Return a decoded call rewritten."""
        if scope == "mention":
            return self._rewrite(document, _erase_mention)
        numbers: set[str] = set()

        def note_number(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
            if kind == "client_phone":
                numbers.add(normalise(text))
            return value

        self._walk.visit(document, note_number)

        def visit(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
            if kind == "manager_phone":
                is_client = any(normalise(one) in numbers for one in split_list(text))
                return None if is_client else value
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
    return erase_numbers(text) if kind == "text" else value


def _erase_mention(value: Any, text: str, kind: Kind) -> Any:  # noqa: ANN401
    if kind in _NOT_TEXTS or kind in ("address", "agent", "visitor"):
        return value
    changed = erase_numbers(text)
    return value if changed == text else changed


def _without_query(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return parts._replace(query="", fragment="").geturl()
