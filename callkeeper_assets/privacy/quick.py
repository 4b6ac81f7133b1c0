"""The rule applied to a usual call, fast: fields by name, then one look at what else it has.

A historic load rewrites each call, so this is its hot path. It only does what it can be sure of.
Most values of calls come again and again: sites, marks, pages, statuses. Of each it is found out
once that no number and no address can be in it; the others, ids and moments for the most part, are
searched together, as bytes, for anything that might be one. That finds too much rather than too
little; such a call is then done by `rewriting`, closely, which is the rule itself. A test holds
that both give the same.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import msgspec

from callkeeper_assets.privacy.addresses import has_address
from callkeeper_assets.privacy.fields import Kind, is_told_by_name
from callkeeper_assets.privacy.folding import stands_for_itself
from callkeeper_assets.privacy.numbers import could_hold_number, readings
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
_PHONES: Final[frozenset[Kind]] = frozenset(("client_phone", "manager_phone"))
# Fields whose values hardly ever come twice, or hold digits: nobody asks whether they are known.
_VARYING_KINDS: Final = frozenset(("visitor", "recording", "agent", "address"))
_MOMENTS: Final = frozenset(
    ("date", "date_timestamp", "order_date", "fd", "callTime", "localDate", "cbOrderDate")
)
# What is remembered: of an account's managers, of the shapes that its objects have, and values in
# which there is nothing.
_MOST_MANAGERS: Final = 4096
_MOST_SHAPES: Final = 512
_MOST_HARMLESS: Final = 16_384
_LONGEST_HARMLESS: Final = 500

_ASCII: Final = 0x80
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Bytes, in UTF-8, of Latin and Cyrillic letters and quotation marks: none of them is a digit's.
_USUAL: Final = bytes((*range(0xC0), 0xC2, 0xC3, 0xD0, 0xD1))
# Stands between values that are searched together: no part of a number, of an address or an escape.
_BETWEEN: Final = "|"

# A number with a fraction is searched, and written, as it came.
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.Encoder().encode


def _classify(one: int) -> str:
    letter = chr(one)
    if letter in "0123456789":
        return "0"
    # What a number may have between its digits, and beyond ASCII what could be that.
    if letter in " ()[].-+_/\\~" or one >= _ASCII:
        return "-"
    return "=" if letter in "=:" else '"' if letter == '"' else "x"


_CLASSES: Final = "".join(map(_classify, range(256))).encode()
# In classes: numbers as nations group them, which all have this in them, fast to look for; and
# digits behind a word and `=` or `:`.
_TWO_GROUPS: Final = re.compile(rb"000-+000")
_GROUPED: Final = re.compile(
    rb"(?<!0)(?:0-+000-+000-*00-*00|000-+000-+00-+00|0{3,5}-+0{3,4}-+0000)(?!0)"
)
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


@dataclass
class _Object:
    """What is known of one object of a call.

    Attributes:
        kinds: of declared fields, by name.
        objects: further ones, by name.
        shapes: by the names that it has: what of these to look at.
    """

    kinds: dict[str, Kind] = field(default_factory=dict)
    objects: dict[str, "_Object"] = field(default_factory=dict)
    shapes: dict[tuple[str, ...], "_Shape"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What to look at of an object with certain names.

    Attributes:
        personal: fields to rewrite, with their kinds.
        identities: of which digits alone are left alone.
        varying: fields whose values are searched, each one.
        take: gives the values of the other declared fields, of which most are known.
        is_usual: whether no name is told to be personal, or holds a number itself.
    """

    personal: tuple[tuple[str, Kind], ...]
    objects: tuple[tuple[str, _Object], ...]
    identities: tuple[str, ...]
    varying: tuple[str, ...]
    take: Callable[[dict[str, Any]], Collection[Any]] | None
    undeclared: tuple[str, ...]
    is_usual: bool


class _UnusualError(Exception):
    """A call that has to be looked at closely."""


@dataclass(slots=True)
class _Seen:
    """What one call has.

    Attributes:
        clients: what their numbers can mean.
        managers: likewise.
        addresses: that were masked, with what they have become.
        rest: texts to be searched.
    """

    clients: list[str] = field(default_factory=list)
    managers: Collection[str] = ()
    addresses: dict[str, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)


class QuickProtector:
    """Rewrites usual calls.

    Args:
        rule: The source's.
        kinds: Of its fields, by path.
    """

    def __init__(self, rule: Rule, kinds: Mapping[str, Kind]) -> None:
        self._rule = rule
        self._root = _build(kinds)
        self._personal = _list_personal(rule)
        self._managers: dict[str, tuple[str, tuple[str, ...]]] = {}
        # Of texts, whole numbers, and what stands for nothing.
        self._harmless: set[object] = {None, True, False, ""}

    def protect(self, payload: bytes) -> bytes | None:
        """Return a call's text as the rule wants it; None if that takes a closer look."""
        try:
            document = _decode(payload)
            if type(document) is not dict:
                return None
            seen = _Seen()
            self._protect_object(document, self._root, seen)
        except (_UnusualError, ValueError, RecursionError):
            return None
        if any(one in seen.managers for one in seen.clients) or self._is_suspect(seen):
            return None
        return _encode(document)

    def _protect_object(self, node: dict[str, Any], known: _Object, seen: _Seen) -> None:
        names = tuple(node)
        shape = known.shapes.get(names) or self._learn_shape(known, names)
        if not shape.is_usual:
            raise _UnusualError
        for name, child in shape.objects:
            value = node[name]
            if type(value) is dict:
                self._protect_object(value, child, seen)
            elif value and not self._is_harmless(value):
                raise _UnusualError
        if shape.take is not None:
            self._look_at_known(shape.take(node), seen)
        if shape.varying or shape.identities:
            _gather(node, shape, seen)
        for name, kind in shape.personal:
            value = node[name]
            if value:
                node[name] = self._protect_field(value, kind, seen)
        if shape.undeclared:
            self._check_undeclared(node[name] for name in shape.undeclared)

    def _look_at_known(self, values: Collection[Any], seen: _Seen) -> None:
        """Have those values searched that may hold something."""
        harmless = self._harmless
        try:
            if harmless.issuperset(values):
                return
            fresh = [one for one in values if one not in harmless]
        except TypeError:
            # A list cannot be known.
            fresh = _flatten(values)
        for one in fresh:
            if not self._is_harmless(one):
                _put_rest(one, seen)

    def _is_harmless(self, value: object) -> bool:
        """Whether no number and no address can be in a value; those are remembered."""
        if type(value) is not str and type(value) is not int:
            return value is None or type(value) is bool
        if value in self._harmless:
            return True
        text = value if type(value) is str else str(value)
        if could_hold_number(text) or text.startswith(("{", "[")) or has_address(text):
            return False
        if len(text) <= _LONGEST_HARMLESS:
            if len(self._harmless) >= _MOST_HARMLESS:
                self._harmless = {None, True, False, ""}
            self._harmless.add(value)
        return True

    def _check_undeclared(self, values: Iterable[Any]) -> None:
        """Raise if a field that nobody has declared may hold something personal."""
        if not all(map(self._is_harmless, _flatten(values))):
            raise _UnusualError

    def _protect_field(self, value: Any, kind: Kind, seen: _Seen) -> str:  # noqa: ANN401
        if type(value) is not str or value[0] in "{[":
            raise _UnusualError
        if kind == "client_phone":
            return self._protect_client(value, seen)
        if kind == "manager_phone":
            manager = self._managers.get(value) or self._read_manager(value)
            seen.managers = (*seen.managers, *manager[1]) if seen.managers else manager[1]
            changed = manager[0]
        elif kind == "address":
            changed = seen.addresses.get(value) or self._protect_address(value, seen)
            seen.rest.append(changed)
            return changed
        elif kind == "agent":
            changed = protect_agent(value, self._rule.user_agents)
        else:
            changed = protect_recording(value, self._rule.recordings)
        if changed not in self._harmless and not self._is_harmless(changed):
            seen.rest.append(changed)
        return changed

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
        if not value.strip():
            return value
        parts = value.split(".")
        if len(parts) != _VERSION_FOUR_PARTS or not _BYTES.issuperset(parts):
            raise _UnusualError
        masked = f"{parts[0]}.{parts[1]}.{parts[2]}.0" if self._rule.ips == "mask" else ""
        if masked != value:
            seen.addresses[value] = masked
        return masked

    def _learn_shape(self, known: _Object, names: tuple[str, ...]) -> _Shape:
        kinds = {name: known.kinds[name] for name in names if name in known.kinds}
        personal = {name: one for name, one in kinds.items() if one in self._personal}
        identities = tuple(name for name, one in kinds.items() if one == "identity")
        varying = tuple(
            name
            for name, one in kinds.items()
            if name not in personal and (one in _VARYING_KINDS or name in _MOMENTS)
        )
        others = [name for name in kinds if name not in (*personal, *identities, *varying)]
        undeclared = tuple(n for n in names if n not in known.kinds and n not in known.objects)
        shape = _Shape(
            personal=tuple(personal.items()),
            objects=tuple((name, known.objects[name]) for name in names if name in known.objects),
            identities=identities,
            varying=varying,
            take=_build_take(others),
            undeclared=undeclared,
            is_usual=not any(is_told_by_name(one) or could_hold_number(one) for one in undeclared),
        )
        if len(known.shapes) < _MOST_SHAPES:
            known.shapes[names] = shape
        return shape

    def _is_suspect(self, seen: _Seen) -> bool:
        """Whether a number or an address may be in what was not rewritten as a field."""
        joined = _BETWEEN.join(("", *seen.rest))
        text = joined.encode()
        if (
            _is_odd(joined)
            or (b"&" in text and _ENTITY.search(text))
            or (not joined.isascii() and _is_exotic(text))
            or (seen.addresses and _may_have_address(text, seen.addresses))
        ):
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
        if (_TWO_GROUPS.search(classes) and _GROUPED.search(classes)) or b"wa.me/" in text:
            return True
        if _AFTER_WORD.search(classes) and _WORDS.search(text):
            return True
        if b"+" in text:
            for found in _PLUS.findall(text):
                is_kept = self._rule.manager_phones == "keep"
                if not is_kept or readings(found.decode("utf-8", "replace")).isdisjoint(managers):
                    return True
        return bool(_RUSSIAN_WORD.search(text) or _RUSSIAN_CAPITALS.search(text))


def _gather(node: dict[str, Any], shape: _Shape, seen: _Seen) -> None:
    """Have those values of an object searched that are searched each time."""
    for name in shape.varying:
        value = node[name]
        if type(value) is str:
            seen.rest.append(value)
        elif value is not None:
            _put_rest(value, seen)
    for name in shape.identities:
        value = node[name]
        if type(value) is not int and not (type(value) is str and value.isdecimal()):
            _put_rest(value, seen)


def _put_rest(value: object, seen: _Seen) -> None:
    """Have a value searched, whatever it is but an object."""
    if type(value) is str:
        seen.rest.append(value)
    elif type(value) is int:
        seen.rest.append(str(value))
    elif isinstance(value, msgspec.Raw):
        seen.rest.append(bytes(value).decode())
    elif type(value) is list:
        for one in _flatten(value):
            _put_rest(one, seen)
    elif value is not None and type(value) is not bool:
        raise _UnusualError


def _flatten(values: Iterable[Any]) -> list[Any]:
    """Return values, and those of lists among them; an object is unusual."""
    found: list[Any] = []
    for one in values:
        if type(one) is list:
            found += one
        else:
            found.append(one)
    if any(type(one) in (dict, list) for one in found):
        raise _UnusualError
    return found


def _is_odd(joined: str) -> bool:
    """Whether there are marks that are nothing, line breaks, escapes, or JSON within a text."""
    return "\\" in joined or not joined.isprintable() or "|{" in joined or "|[" in joined


def _is_exotic(text: bytes) -> bool:
    """Whether there may be digits of other scripts, or marks that are nothing."""
    return bool(text.translate(None, _USUAL)) and not all(
        map(stands_for_itself, set(text.decode("utf-8", "replace")))
    )


def _may_have_address(text: bytes, addresses: Iterable[str]) -> bool:
    for one in addresses:
        if one.encode() in text:
            return True
    # Of version 6, which may be the same one.
    if b"::" in text or b"ffff:" in text or b"FFFF:" in text:
        return True
    return b"%" in text and _ESCAPED_COLON.search(text) is not None


def _build_take(names: list[str]) -> Callable[[dict[str, Any]], Collection[Any]] | None:
    """Return what gives the values of so many names as a collection."""
    if not names:
        return None
    take = itemgetter(*names)
    return take if len(names) > 1 else lambda node: (take(node),)


def _list_personal(rule: Rule) -> frozenset[Kind]:
    """Return which kinds of fields are rewritten; numbers are always read."""
    actions: dict[Kind, str] = {
        "address": rule.ips,
        "agent": rule.user_agents,
        "recording": rule.recordings,
    }
    return _PHONES | {kind for kind, action in actions.items() if action != "keep"}


def _build(kinds: Mapping[str, Kind]) -> _Object:
    root = _Object()
    for path, kind in kinds.items():
        *parents, name = path.split(".")
        node = root
        for parent in parents:
            node = node.objects.setdefault(parent, _Object())
        node.kinds[name] = kind
    return root
