"""The rule applied to a usual call, fast: fields by name, then one look at what else it has.

A historic load rewrites each call, so this is its hot path. It only does what it can be sure of.
Most values of calls come again and again: sites, marks, pages, statuses. Of each it is found out
once that no number and no address can be in it; the others, ids and moments for the most part, are
searched together, those of many calls at once, for anything that might be one. That finds too much
rather than too little; such a call is then done by `rewriting`, closely, which is the rule itself.
A test holds that both give the same.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import msgspec

from callkeeper_assets.privacy.addresses import has_address
from callkeeper_assets.privacy.fields import Kind, is_told_by_name
from callkeeper_assets.privacy.known_values import KnownValues
from callkeeper_assets.privacy.numbers import could_hold_number
from callkeeper_assets.privacy.phone_fields import read_field
from callkeeper_assets.privacy.plans import want
from callkeeper_assets.privacy.rule import (
    Rule,
    hash_number,
    protect_agent,
    protect_number,
    protect_recording,
)
from callkeeper_assets.privacy.suspicion import find_suspects, search_sought

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

# A number with a fraction is searched, and written, as it came.
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.Encoder().encode


_Take = Callable[[dict[str, Any]], Collection[Any]]


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
        is_usual: whether no name is told to be personal, or holds a number itself.
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
        values: by which it is judged.
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
            is_usual=not any(is_told_by_name(one) or could_hold_number(one) for one in undeclared),
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
