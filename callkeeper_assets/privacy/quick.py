"""The rule applied to a usual call, fast: fields by name, then one look at the text that results.

A historic load rewrites each call, so this is its hot path. It only does what it can be sure of:
after its fields are rewritten, the call's new text is searched, as bytes, for anything that might
be one more number or address. That finds too much rather than too little; such a call is then done
by `rewriting`, closely, which is the rule itself. A test holds that both give the same.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from callkeeper_assets.exact_json import encode
from callkeeper_assets.privacy.fields import Kind, is_told_by_name
from callkeeper_assets.privacy.folding import stands_for_itself
from callkeeper_assets.privacy.numbers import SHORTEST_SOUGHT, could_hold_number, readings
from callkeeper_assets.privacy.phone_fields import read_field
from callkeeper_assets.privacy.plans import want
from callkeeper_assets.privacy.rule import (
    Rule,
    hash_number,
    protect_agent,
    protect_number,
    protect_recording,
)

_RUSSIAN: Final = re.compile(r"\+?(7[3489][0-9]{9})")
_BYTES: Final = frozenset(str(one) for one in range(256))
_VERSION_FOUR_PARTS: Final = 4
_PERSONAL: Final = frozenset(("client_phone", "manager_phone", "address", "agent", "recording"))
# What is remembered: of an account's managers, and of the shapes that its objects have.
_MOST_MANAGERS: Final = 4096
_MOST_SHAPES: Final = 512

_ASCII: Final = 0x80
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Bytes, in UTF-8, of Latin and Cyrillic letters and quotation marks: none of them is a digit's.
_USUAL: Final = bytes((*range(0xC0), 0xC2, 0xC3, 0xD0, 0xD1))
_SOFT_HYPHEN: Final = "\u00ad".encode()


def _classify(one: int) -> str:
    letter = chr(one)
    if letter in "0123456789":
        return "0"
    # What a number may have between its digits, and beyond ASCII what could be that.
    if letter in " ()[].-+_/\\~" or one >= _ASCII:
        return "-"
    return "=" if letter in "=:" else '"' if letter == '"' else "x"


_CLASSES: Final = "".join(map(_classify, range(256))).encode()
# In classes: numbers as nations group them, and digits behind a word and `=` or `:`.
_GROUPED: Final = re.compile(rb"000-+000(?:-*00-*00(?!0)|0?-+0000(?!0))")
_AFTER_WORD: Final = re.compile(rb"x=-*0(?:-*0){6}")
_WORDS: Final = re.compile(rb"tel[:=]|phone[:=]|telefon|msisdn|sips?:|callto", re.IGNORECASE)
_RUSSIAN_WORD: Final = re.compile("ел(?:ефон)?[.: ]{1,3}[+ ]*[0-9(]".encode())
_RUSSIAN_CAPITALS: Final = re.compile("ЕЛ(?:ЕФОН)?[.: ]{1,3}[+ ]*[0-9(]".encode())
_PLUS: Final = re.compile(rb"\+(?:[ ()\[\].\-+_/\\~\x80-\xff]*[0-9]){10,15}")
_ENTITY: Final = re.compile(rb"&[A-Za-z]{2,8};|&#")
_HARMLESS: Final = re.compile(
    rb"(?:%[dD][01]%[89AaBb][0-9A-Fa-f]|%(?:2[0-489ACDFacdf]|3[A-Fa-f]|40|5[BbDdFf]|7[BbDdEe]))+"
)
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-fu][0-9A-Fa-f]")
_ESCAPED_COLON: Final = re.compile(rb"%(?:3[Aa]|2[Ee])")
_ESCAPED: Final = re.compile(rb"\\(?:[untrbf]|\\[untrbf\"/\\])")


@dataclass
class _Object:
    """What is known of one object of a call.

    Attributes:
        names: declared.
        personal: fields to rewrite, with their kinds.
        objects: of further ones, by name.
        shapes: by the names that it has: what of these to look at.
    """

    names: set[str] = field(default_factory=set)
    personal: dict[str, Kind] = field(default_factory=dict)
    objects: dict[str, "_Object"] = field(default_factory=dict)
    shapes: dict[tuple[str, ...], "_Shape"] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shape:
    """What to look at of an object with certain names."""

    personal: tuple[tuple[str, Kind], ...]
    objects: tuple[tuple[str, _Object], ...]
    undeclared: tuple[str, ...]
    is_usual: bool


class _UnusualError(Exception):
    """A call that has to be looked at closely."""


@dataclass
class _Seen:
    """What the fields of one call have.

    Attributes:
        clients: what their numbers can mean.
        managers: likewise.
        addresses: as written.
        objects: how many there are.
    """

    clients: list[str] = field(default_factory=list)
    managers: Collection[str] = ()
    addresses: list[str] = field(default_factory=list)
    objects: int = 0


class QuickProtector:
    """Rewrites usual calls.

    Args:
        rule: The source's.
        kinds: Of its fields, by path.
    """

    def __init__(self, rule: Rule, kinds: Mapping[str, Kind]) -> None:
        self._rule = rule
        self._root = _build(kinds)
        self._managers: dict[str, tuple[str, tuple[str, ...]]] = {}

    def protect(self, document: Any) -> bytes | None:  # noqa: ANN401 -- JSON
        """Return a decoded call's text as the rule wants it; None if that takes a closer look.

        The document is changed, also where None is returned.
        """
        if type(document) is not dict:
            return None
        seen = _Seen()
        try:
            self._protect_object(document, self._root, seen)
        except _UnusualError:
            return None
        if any(one in seen.managers for one in seen.clients):
            return None
        text = encode(document)
        return None if self._is_suspect(text, seen) else text

    def _protect_object(self, node: dict[str, Any], known: _Object, seen: _Seen) -> None:
        names = tuple(node)
        shape = known.shapes.get(names) or _learn_shape(known, names)
        if not shape.is_usual:
            raise _UnusualError
        seen.objects += 1
        for name, child in shape.objects:
            value = node[name]
            if type(value) is dict:
                self._protect_object(value, child, seen)
        for name, kind in shape.personal:
            value = node[name]
            if value:
                node[name] = self._protect_field(value, kind, seen)
        for name in shape.undeclared:
            _check_undeclared(node[name])

    def _protect_field(self, value: Any, kind: Kind, seen: _Seen) -> str:  # noqa: ANN401
        if type(value) is not str:
            raise _UnusualError
        if kind == "client_phone":
            return self._protect_client(value, seen)
        if kind == "manager_phone":
            manager = self._managers.get(value) or self._read_manager(value)
            seen.managers = (*seen.managers, *manager[1]) if seen.managers else manager[1]
            return manager[0]
        if kind == "address":
            return self._protect_address(value, seen)
        if kind == "agent":
            return protect_agent(value, self._rule.user_agents)
        return protect_recording(value, self._rule.recordings)

    def _protect_client(self, value: str, seen: _Seen) -> str:
        rule = self._rule
        plain = _RUSSIAN.fullmatch(value)
        if plain:
            seen.clients.append(plain[1])
            if rule.phones == "hash":
                return hash_number(plain[1], rule.key)
            return f"{value[:-4]}****" if rule.phones == "mask" else value
        for one in read_field(value).numbers:
            seen.clients += one
        return protect_number(value, rule.phones, rule.key, is_client=True)

    def _read_manager(self, value: str) -> tuple[str, tuple[str, ...]]:
        """Protect a manager's number; there are few, so it is remembered."""
        rule = self._rule
        found = tuple(key for one in read_field(value).numbers for key in one)
        result = protect_number(value, rule.manager_phones, rule.key), found
        if len(self._managers) < _MOST_MANAGERS:
            self._managers[value] = result
        return result

    def _protect_address(self, value: str, seen: _Seen) -> str:
        ips = self._rule.ips
        if ips == "keep" or not value.strip():
            return value
        parts = value.split(".")
        if len(parts) != _VERSION_FOUR_PARTS or not _BYTES.issuperset(parts):
            raise _UnusualError
        if ips == "drop":
            seen.addresses.append(value)
            return ""
        masked = f"{parts[0]}.{parts[1]}.{parts[2]}.0"
        if masked != value:
            seen.addresses.append(value)
        return masked

    def _is_suspect(self, text: bytes, seen: _Seen) -> bool:
        """Whether a number or an address may be in what was not rewritten as a field."""
        if not _is_flat(text, seen.objects) or (b"\\" in text and _is_nested(text)):
            return True
        if b"&" in text and _ENTITY.search(text):
            return True
        if not text.isascii() and _is_exotic(text):
            return True
        if seen.addresses and _may_have_address(text, seen.addresses):
            return True
        if b"%" in text:
            text = _HARMLESS.sub(b"-", text.replace(b"%2B", b"+").replace(b"%2b", b"+"))
            if _ESCAPE.search(text):
                return True
        return self._may_have_number(text, seen)

    def _may_have_number(self, text: bytes, seen: _Seen) -> bool:
        rule = self._rule
        sought = seen.clients if rule.phones != "keep" else []
        if rule.manager_phones != "keep" and seen.managers:
            sought = [*sought, *seen.managers]
        if sought:
            digits = text.translate(None, _NO_DIGITS)
            for key in sought:
                if want(key).core.encode() in digits:
                    return True
        return rule.phones != "keep" and self._may_have_other(text, seen.managers)

    def _may_have_other(self, text: bytes, managers: Collection[str]) -> bool:
        classes = text.translate(_CLASSES)
        if _GROUPED.search(classes) or b"wa.me/" in text:
            return True
        if _AFTER_WORD.search(classes) and _WORDS.search(text):
            return True
        if b"+" in text:
            for found in _PLUS.findall(text):
                is_kept = self._rule.manager_phones == "keep"
                if not is_kept or readings(found.decode("utf-8", "replace")).isdisjoint(managers):
                    return True
        return bool(_RUSSIAN_WORD.search(text) or _RUSSIAN_CAPITALS.search(text))


def _is_flat(text: bytes, objects: int) -> bool:
    """Whether a text has no more objects than were looked at, no list, and none within a text."""
    # Most have no bracket that is not an object's.
    is_counted = text.count(b"{") == objects or text.count(b":{") == objects - 1
    if b"[" not in text:
        return is_counted
    return is_counted and b'"[' not in text and text.count(b":[") == text.count(b":[]")


def _is_nested(text: bytes) -> bool:
    """Whether a text that has a backslash may have JSON in one of its own, or hide a digit."""
    return b'"{' in text or _ESCAPED.search(text) is not None


def _is_exotic(text: bytes) -> bool:
    """Whether there may be digits of other scripts, or marks that are nothing."""
    if _SOFT_HYPHEN in text:
        return True
    return bool(text.translate(None, _USUAL)) and not all(
        map(stands_for_itself, set(text.decode("utf-8", "replace")))
    )


def _may_have_address(text: bytes, addresses: list[str]) -> bool:
    for one in addresses:
        if one.encode() in text:
            return True
    # Of version 6, which may be the same one.
    if b"::" in text or b"ffff:" in text or b"FFFF:" in text:
        return True
    return b"%" in text and _ESCAPED_COLON.search(text) is not None


def _check_undeclared(value: Any) -> None:  # noqa: ANN401
    """Raise if a field that nobody has declared may hold something personal."""
    if value is None or type(value) is bool:
        return
    text = str(value)
    if len(text) >= SHORTEST_SOUGHT and ("." in text or ":" in text or could_hold_number(text)):
        raise _UnusualError


def _learn_shape(known: _Object, names: tuple[str, ...]) -> _Shape:
    undeclared = tuple(name for name in names if name not in known.names)
    shape = _Shape(
        personal=tuple((name, known.personal[name]) for name in names if name in known.personal),
        objects=tuple((name, known.objects[name]) for name in names if name in known.objects),
        undeclared=undeclared,
        is_usual=not any(is_told_by_name(one) or could_hold_number(one) for one in undeclared),
    )
    if len(known.shapes) < _MOST_SHAPES:
        known.shapes[names] = shape
    return shape


def _build(kinds: Mapping[str, Kind]) -> _Object:
    root = _Object()
    for path, kind in kinds.items():
        *parents, name = path.split(".")
        node = root
        for parent in parents:
            node.names.add(parent)
            node = node.objects.setdefault(parent, _Object())
        node.names.add(name)
        if kind in _PERSONAL:
            node.personal[name] = kind
    return root
