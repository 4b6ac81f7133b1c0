"""The rule applied to a usual call, fast: fields by name, then one look at what else it has.

Texts of a whole day are searched together for what nobody named, by bytes; values in which no
number can be are found out once. What does not look usual goes to `rewriting`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import msgspec

from callkeeper_assets.privacy.fields import Kind, is_personal_by_name, read_field
from callkeeper_assets.privacy.numbers import (
    could_hold_number,
    fold,
    has_address,
    has_run,
    read_addresses,
    readings,
    stands_for_itself,
    want,
)
from callkeeper_assets.privacy.rule import (
    Rule,
    hash_number,
    protect_agent,
    protect_number,
    protect_recording,
)

_NOTHING: Final = (None, True, False, "")
_MOST: Final = 16_384
_LONGEST: Final = 500

_ASCII: Final = 0x80
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Bytes, in UTF-8, of Latin and Cyrillic letters and quotation marks: none of them is a digit's.
_USUAL: Final = bytes((*range(0xC0), 0xC2, 0xC3, 0xD0, 0xD1))
# Stands between values that are searched together: no part of a number, of an address or an escape.
_BETWEEN: Final = "|"

_RUSSIAN: Final = re.compile(r"\+?(7[3489][0-9]{9})")
_BYTES: Final = frozenset(str(one) for one in range(256))
_VERSION_FOUR_PARTS: Final = 4
_PHONES: Final[frozenset[Kind]] = frozenset(("client_phone", "manager_phone"))
# Fields whose values hardly ever come twice, or hold digits: nobody asks whether they are known.
_VARYING_KINDS: Final = frozenset(("visitor", "recording", "address"))
_NONE: Final[frozenset[str]] = frozenset()
_MOMENTS: Final = frozenset(
    ("date", "date_timestamp", "order_date", "fd", "callTime", "localDate", "cbOrderDate")
)
# What is remembered: of an account's managers, and of the shapes that its objects have.
_MOST_MANAGERS: Final = 4096
_MOST_SHAPES: Final = 512

_Take = Callable[[dict[str, Any]], Collection[Any]]


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Values of calls that are known; one call is treated by one of these from beginning to end.

    Attributes:
        harmless: texts, whole numbers and what stands for nothing, in which no number can be.
        doubtful: texts in which one can be.
        spoken: addresses that are in the harmless ones.
    """

    harmless: set[object] = field(default_factory=lambda: set(_NOTHING))
    doubtful: set[object] = field(default_factory=set)
    spoken: set[str] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """Whether it is time to begin anew: with the next call, not within one."""
        return len(self.harmless) + len(self.doubtful) >= _MOST

    def is_harmless(self, value: object) -> bool:
        """Whether no number can be in a value, and its addresses are known; both are remembered."""
        if type(value) is not str and type(value) is not int:
            return value is None or type(value) is bool
        if value in self.harmless:
            return True
        text = value if type(value) is str else str(value)
        if text.startswith(("{", "[")) or has_run(text):
            if len(text) <= _LONGEST:
                self.doubtful.add(text)
            return False
        spoken = {str(address) for _, address in read_addresses(fold(text))}
        if len(text) > _LONGEST:
            return not spoken
        # In this order: another thread may ask meanwhile.
        self.spoken.update(spoken)
        self.harmless.add(value)
        return True


def _classify(one: int) -> str:
    letter = chr(one)
    if letter in "0123456789":
        return "0"
    # What a number may have between its digits, and beyond ASCII what could be that.
    if letter in " ()[].-+_/\\~" or one >= _ASCII:
        return "-"
    return "=" if letter in "=:" else '"' if letter == '"' else "x"


_CLASSES: Final = "".join(map(_classify, range(256))).encode()
# In classes: numbers as nations group them. What these have in common is fast to look for, as it
# begins with the same in each; what is found is looked at again.
_NEARLY_GROUPED: Final = re.compile(rb"000-+000(?:-*00-*00(?!0)|0?-+0000(?!0))")
_GROUPED: Final = re.compile(
    rb"(?<!0)(?:0-+000-+000-*00-*00|000-+000-+00-+00|0{3,5}-+0{3,4}-+0000)(?!0)"
)
# Digits behind a word and `=` or `:`.
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
# Of an address of version 6 that can hold one of version 4, in any length.
_OF_VERSION_SIX: Final = (b"::", b"ffff:", b"2002:", b"0:0:0", b"0000:0000")


def _is_odd(joined: str) -> bool:
    """Whether there are marks that are nothing, line breaks, escapes, or JSON within a text."""
    return "\\" in joined or not joined.isprintable() or "|{" in joined or "|[" in joined


def _is_exotic(text: bytes) -> bool:
    """Whether there may be digits of other scripts, or marks that are nothing."""
    return bool(text.translate(None, _USUAL)) and not all(
        map(stands_for_itself, set(text.decode("utf-8", "replace")))
    )


def _may_have_address(text: bytes) -> bool:
    """Whether there may be an address of version 6, in which one of version 4 may be written."""
    lower = text.lower()
    return any(sign in lower for sign in _OF_VERSION_SIX)


def _has_group(classes: bytes) -> bool:
    return any(
        # What is grouped has no letter in it.
        _GROUPED.search(
            classes, classes.rfind(b"x", 0, one.start()) + 1, classes.find(b"x", one.end())
        )
        for one in _NEARLY_GROUPED.finditer(classes)
    )


def _may_have_other(text: bytes) -> bool:
    """Whether there may be a number that nobody named and that has no plus."""
    classes = text.translate(_CLASSES) + b"x"
    if b"wa.me/" in text or _has_group(classes):
        return True
    if _AFTER_WORD.search(classes) and _WORDS.search(text):
        return True
    return bool(_RUSSIAN_WORD.search(text) or _RUSSIAN_CAPITALS.search(text))


def _has_plus(text: bytes, kept: Collection[str]) -> bool:
    """Whether there may be a number with a plus, but those that are kept."""
    return any(
        not kept or readings(found.decode("utf-8", "replace")).isdisjoint(kept)
        for found in _PLUS.findall(text)
    )


def search_sought(
    texts: Sequence[str],
    cores: Iterable[bytes],
    addresses: Collection[str],
    kept: Collection[str],
    *,
    also_others: bool,
) -> str | None:
    """Look through a call's texts for what the call itself names.

    Args:
        texts: Any.
        cores: Of numbers that are looked for, the digits that all their writings have.
        addresses: That are looked for, of version 4.
        kept: Numbers that may be there.
        also_others: Whether every other number counts as well.

    Returns:
        What is left to be looked through by `find_suspects`; None if there may be something.
    """
    joined = _BETWEEN.join(("", *texts))
    for one in addresses:
        if one in joined:
            return None
    text = joined.encode()
    if b"%" in text:
        if addresses and _ESCAPED_COLON.search(text):
            return None
        text = _HARMLESS.sub(b"-", text.replace(b"%2B", b"+").replace(b"%2b", b"+"))
        if _ESCAPE.search(text):
            return None
        joined = text.decode()
    digits = text.translate(None, _NO_DIGITS)
    for core in cores:
        if core in digits:
            return None
    return None if also_others and b"+" in text and _has_plus(text, kept) else joined


def find_suspects(
    texts: Sequence[str], *, also_addresses: bool, also_others: bool
) -> Iterator[int]:
    """Yield which texts may hold an address or a number, in whatever writing, that is not theirs.

    Args:
        texts: As `search_sought` returns them.
        also_addresses: Whether addresses are looked for.
        also_others: Whether numbers are that nobody named.
    """

    def look(start: int, end: int) -> Iterator[int]:
        joined = "".join(texts[start:end])
        if not _is_suspect(joined, also_addresses=also_addresses, also_others=also_others):
            return
        if end - start == 1:
            yield start
            return
        middle = (start + end) // 2
        yield from look(start, middle)
        yield from look(middle, end)

    return look(0, len(texts))


def _is_suspect(joined: str, *, also_addresses: bool, also_others: bool) -> bool:
    text = joined.encode()
    return bool(
        _is_odd(joined)
        or (b"&" in text and _ENTITY.search(text))
        or (not joined.isascii() and _is_exotic(text))
        or (also_addresses and _may_have_address(text))
        or (also_others and _may_have_other(text))
    )


# A number with a fraction is searched, and written, as it came.
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.Encoder().encode


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
        take_varying: gives the values that are searched, each one.
        take: gives those of the other declared fields, of which most are known.
        is_usual: whether no name is a personal one, or holds a number itself.
    """

    personal: tuple[tuple[str, Kind], ...]
    objects: tuple[tuple[str, _Object], ...]
    identities: tuple[str, ...]
    take_varying: _Take
    take: _Take
    undeclared: tuple[str, ...]
    is_usual: bool


class _UnusualError(Exception):
    """A call that has to be looked at closely."""


@dataclass(slots=True)
class _Seen:
    """What one call has.

    Attributes:
        values: by which it is decided.
        clients: what their numbers can mean.
        managers: likewise.
        sought: the digits of those that are not kept.
        addresses: that were masked, with what they have become.
        usual: values of which most are known.
        rest: texts to be searched.
    """

    values: KnownValues
    clients: list[str] = field(default_factory=list)
    managers: frozenset[str] = _NONE
    sought: list[bytes] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    usual: list[Any] = field(default_factory=list)
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
        self._managers: dict[str, tuple[str, frozenset[str], list[bytes]]] = {}
        self._values = KnownValues()

    def protect(self, payload: bytes) -> bytes | None:
        """Return a call's text as the rule wants it; None if that takes a closer look."""
        return self.protect_all((payload,))[0]

    def protect_all(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Return what `protect` would for each; many at once are searched in less time."""
        done: list[bytes | None] = []
        texts: list[str] = []
        places: list[int] = []
        for place, payload in enumerate(payloads):
            rewritten = self._rewrite(payload)
            if rewritten is None:
                done.append(None)
            else:
                done.append(rewritten[0])
                texts.append(rewritten[1])
                places.append(place)
        rule = self._rule
        for suspect in find_suspects(
            texts, also_addresses=rule.ips != "keep", also_others=rule.phones != "keep"
        ):
            done[places[suspect]] = None
        return done

    def _rewrite(self, payload: bytes) -> tuple[bytes, str] | None:
        """Return a call rewritten, and what is to be searched with other calls' texts."""
        try:
            document = _decode(payload)
            if type(document) is not dict:
                return None
            if self._values.is_full:
                self._values = KnownValues()
            seen = _Seen(self._values)
            self._protect_object(document, self._root, seen)
            _look_at_usual(seen)
        except (_UnusualError, ValueError, RecursionError):
            return None
        text = self._search(seen)
        return None if text is None else (_encode(document), text)

    def _search(self, seen: _Seen) -> str | None:
        """Return what is left to be searched; None if what the call itself names may be in it."""
        if not (
            seen.managers.isdisjoint(seen.clients) and seen.values.spoken.isdisjoint(seen.addresses)
        ):
            return None
        rule = self._rule
        kept = seen.managers if rule.manager_phones == "keep" else _NONE
        return search_sought(
            seen.rest, seen.sought, seen.addresses, kept, also_others=rule.phones != "keep"
        )

    def _protect_object(self, node: dict[str, Any], known: _Object, seen: _Seen) -> None:
        names = tuple(node)
        shape = known.shapes.get(names) or self._learn_shape(known, names)
        if not shape.is_usual:
            raise _UnusualError
        for name, child in shape.objects:
            value = node[name]
            if type(value) is dict:
                self._protect_object(value, child, seen)
            elif not _says_nothing(value):
                raise _UnusualError
        seen.usual += shape.take(node)
        _put_all(shape.take_varying(node), seen)
        if shape.identities:
            _look_at_identities([node[name] for name in shape.identities], seen)
        for name, kind in shape.personal:
            value = node[name]
            # A zero is a number that somebody sent.
            if value is not None and value != "":
                node[name] = self._protect_field(value, kind, seen)
        if shape.undeclared:
            _check_undeclared((node[name] for name in shape.undeclared), seen)

    def _protect_field(self, value: Any, kind: Kind, seen: _Seen) -> str:  # noqa: ANN401
        if type(value) is not str or value[0] in "{[":
            raise _UnusualError
        if kind == "client_phone":
            return self._protect_client(value, seen)
        if kind == "manager_phone":
            manager = self._managers.get(value) or self._read_manager(value)
            seen.managers = seen.managers | manager[1] if seen.managers else manager[1]
            seen.sought += manager[2]
            changed = manager[0]
        elif kind == "address":
            changed = seen.addresses.get(value) or self._protect_address(value, seen)
            seen.rest.append(changed)
            return changed
        elif kind == "agent":
            changed = protect_agent(value, self._rule.user_agents)
        else:
            changed = protect_recording(value, self._rule.recordings)
        if not seen.values.is_harmless(changed):
            seen.rest.append(changed)
        return changed

    def _protect_client(self, value: str, seen: _Seen) -> str:
        rule = self._rule
        plain = _RUSSIAN.fullmatch(value)
        if plain:
            seen.clients.append(plain[1])
            if rule.phones != "keep":
                seen.sought.append(plain[1][1:].encode())
            if rule.phones == "hash":
                return hash_number(plain[1], rule.key)
            return f"{value[:-4]}****" if rule.phones == "mask" else value
        for one in read_field(value).numbers:
            seen.clients += one
            if rule.phones != "keep":
                seen.sought += _list_cores(one)
        return protect_number(value, rule.phones, rule.key, is_client=True)

    def _read_manager(self, value: str) -> tuple[str, frozenset[str], list[bytes]]:
        """Protect a manager's number; there are few, so it is remembered."""
        rule = self._rule
        found = frozenset(key for one in read_field(value).numbers for key in one)
        sought = [] if rule.manager_phones == "keep" else _list_cores(found)
        result = protect_number(value, rule.manager_phones, rule.key), found, sought
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
            take_varying=_build_take(varying),
            take=_build_take(others),
            undeclared=undeclared,
            is_usual=not any(
                is_personal_by_name(one) or could_hold_number(one) for one in undeclared
            ),
        )
        if len(known.shapes) < _MOST_SHAPES:
            known.shapes[names] = shape
        return shape


def _says_nothing(value: object) -> bool:
    """Whether there is nothing in an object's place: a text may say what the object would."""
    return not value or (type(value) is str and value.isspace())


def _list_cores(keys: Iterable[str]) -> list[bytes]:
    """Return the digits by which numbers are looked for."""
    return list({want(key).core.encode() for key in keys})


def _look_at_usual(seen: _Seen) -> None:
    """Have those values searched that are not known and may hold something."""
    harmless = seen.values.harmless
    try:
        fresh = _list_others(seen.usual, harmless)
    except TypeError:
        # A list cannot be known, but what is in it.
        fresh = _list_others(_flatten(seen.usual), harmless)
    doubtful = seen.values.doubtful
    for one in fresh:
        if type(one) is str and one in doubtful:
            seen.rest.append(one)
        elif not seen.values.is_harmless(one):
            _put_all((one,), seen)


def _list_others(values: list[Any], known: set[object]) -> list[Any]:
    return [] if known.issuperset(values) else [one for one in values if one not in known]


def _check_undeclared(values: Iterable[Any], seen: _Seen) -> None:
    """Raise if a field that nobody has declared may hold something personal."""
    for one in _flatten(values):
        if not seen.values.is_harmless(one) or (type(one) is str and has_address(one)):
            raise _UnusualError


def _look_at_identities(values: Iterable[Any], seen: _Seen) -> None:
    """Have those ids searched that are more than digits."""
    for value in values:
        if type(value) is not int and not (type(value) is str and value.isdecimal()):
            _put_all((value,), seen)


def _put_all(values: Iterable[Any], seen: _Seen) -> None:
    """Have values searched, whatever they are but objects."""
    for value in values:
        if type(value) is str:
            seen.rest.append(value)
        elif type(value) is int:
            seen.rest.append(str(value))
        elif value is not None and type(value) is not bool:
            _put_all(_flatten((value,)), seen)


def _flatten(values: Iterable[Any]) -> list[Any]:
    """Return values, and those of lists among them, as what can be known."""
    found: list[Any] = []
    for one in values:
        kind = type(one)
        if kind is str or kind is int or one is None:
            found.append(one)
        elif kind is list:
            found += map(_read_value, one)
        else:
            found.append(_read_value(one))
    return found


def _read_value(value: Any) -> Any:  # noqa: ANN401
    """Return a number with a fraction as its text; an object is unusual."""
    if type(value) in (dict, list):
        raise _UnusualError
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


def _build_take(names: Sequence[str]) -> _Take:
    """Return what gives the values of so many names as a collection."""
    if not names:
        return lambda _: ()
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
