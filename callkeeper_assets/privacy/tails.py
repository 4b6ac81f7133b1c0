"""Looks for a number by its last nine digits alone: the proof that erasing has left nothing.

On purpose apart from the finder by which calls are erased (`numbers`): no pattern and no idea of
how numbers are written. A text is decoded, whatever is no digit is dropped, and what is left has
these digits or not. So it finds more than is the number; a person decides what.
"""

import hmac
import html
import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote

from callkeeper_assets.privacy.numbers import want

# All writings of a number have these in common: countries' codes and trunk prefixes stand before. A
# few countries' numbers have one or two less.
_TAIL: Final = 9
_LONGEST: Final = 15
_ROUNDS: Final = 4
# A text that is escaped in several ways has a few decodings; one with more is made to have them.
_MOST_DECODINGS: Final = 64
_NOT_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Of any script.
_DIGITS: Final = re.compile(r"\d+")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_OF_SCRIPT: Final = re.compile(r"%u([0-9A-Fa-f]{4})")
# A moment is no number: that of a call at noon would be one's of 926 for a whole hour.
_MOMENT: Final = re.compile(
    r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d[ T+]\d\d:\d\d(?::\d\d(?:\.\d+)?)?|(?<!\d)20\d{6}T\d{6}"
)
_HASH_LETTERS: Final = 24
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_KEY_PART: Final = re.compile(r"\[([^\[\]]*)\]")


class Leaf(NamedTuple):
    """One value of a document, or the name of one; `is_number`: JSON gives it as a whole number."""

    path: str
    text: str
    is_number: bool = False


def read_tail(number: str) -> str:
    """Return the last nine digits of a number, or all that it has without its country's code.

    Args:
        number: As `normalise_number` returns it.
    """
    return want(number).core[-_TAIL:]


def hash_tail(tail: str, key: bytes) -> str:
    """Return the keyed hash of a number's last digits, such as `last9_klmn…`.

    Of letters, so that no number is ever seen in it; how many digits there are stands before.
    """
    digest = hmac.digest(key, tail.encode(), "sha256").hex()
    return f"last{len(tail)}_{digest[:_HASH_LETTERS].translate(_LETTERS)}"


def spell_digits(text: str) -> str:
    """Return the digits of a text, those of all scripts as 0 to 9."""
    if text.isascii():
        return text.encode().translate(None, _NOT_DIGITS).decode()
    digits = "".join(_DIGITS.findall(text))
    if digits.isascii():
        return digits
    return "".join(str(unicodedata.decimal(one)) for one in digits)


def _read_json_escapes(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _read_url_escapes(text: str) -> str:
    return unquote(_OF_SCRIPT.sub(lambda found: chr(int(found[1], 16)), text))


_DECODERS: Final = (
    ("\\", _read_json_escapes),
    ("%", _read_url_escapes),
    ("&", html.unescape),
)


def list_decodings(text: str) -> list[str]:
    """Return a text as it is, and as it reads with escapes of JSON, URLs and HTML undone.

    Several times over, and each alone too: what looks like an escape may be none.
    """
    known = {text: None}
    fresh = [text]
    for _ in range(_ROUNDS):
        decoded = [decode(one) for one in fresh for sign, decode in _DECODERS if sign in one]
        fresh = [one for one in dict.fromkeys(decoded) if one not in known]
        known.update(dict.fromkeys(fresh))
        if not fresh or len(known) > _MOST_DECODINGS:
            break
    return list(known)


class Tail(Protocol):
    """The last digits that are looked for."""

    def may_be_in(self, digits: str) -> bool:
        """Whether it is worth while to look closer; fast."""

    def is_in(self, digits: str) -> bool:
        """Whether they stand in a row of digits."""

    def has_token(self, text: str) -> bool:
        """Whether what hashing makes of the number stands in a text."""


@dataclass(frozen=True)
class KnownTail:
    """Of a number that is at hand.

    Attributes:
        tokens: what hashing makes of the number.
    """

    digits: str
    tokens: Collection[str] = ()

    def may_be_in(self, digits: str) -> bool:
        """As of `Tail`."""
        return self.digits in digits

    is_in = may_be_in

    def has_token(self, text: str) -> bool:
        """As of `Tail`."""
        return any(token in text for token in self.tokens)


class HashedTail:
    """Of a number that nobody has any more, only the hash of its last nine digits.

    Args:
        hashed: As `hash_tail` returns it.
        key: With which it was made.
    """

    def __init__(self, hashed: str, key: bytes) -> None:
        self._length = int(spell_digits(hashed) or _TAIL)

        @lru_cache(maxsize=1 << 16)
        def matches(window: str) -> bool:
            return hash_tail(window, key) == hashed

        self._matches = matches

    def may_be_in(self, digits: str) -> bool:
        """As of `Tail`."""
        return len(digits) >= self._length

    def is_in(self, digits: str) -> bool:
        """As of `Tail`."""
        length = self._length
        windows = (digits[at : at + length] for at in range(len(digits) - length + 1))
        return any(self._matches(window) for window in windows)

    def has_token(self, text: str) -> bool:  # noqa: ARG002 -- as of `Tail`
        """Never: tokens cannot be made without the number."""
        return False


def may_hold(tail: Tail, text: str) -> bool:
    """Whether a text, or anything in it, can hold the digits or a token: asked of whole calls."""
    return tail.has_token(text) or any(
        tail.may_be_in(spell_digits(one)) for one in list_decodings(text)
    )


def holds(tail: Tail, leaf: Leaf) -> bool:
    """Whether a value holds the digits, or a token.

    A whole number does if it ends with them and is no longer than a phone number: ids have them
    by chance.
    """
    if leaf.is_number:
        return len(leaf.text) <= _LONGEST and tail.is_in(leaf.text[-_TAIL:])
    if tail.has_token(leaf.text):
        return True
    return any(
        tail.is_in(row)
        for one in list_decodings(leaf.text)
        for row in map(spell_digits, _MOMENT.split(one))
    )


class _Pairs(list[tuple[str, Any]]):
    """An object with all its names, those that stand twice too."""


class _Number(str):
    """A whole number as it was written."""

    __slots__ = ()


def list_leaves(text: str, form: Literal["json", "form", "query"] = "json") -> list[Leaf]:
    """Return all values and names of a document; what is none is one value."""
    if form != "json" and "\n" not in text:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=None)
        found: list[Leaf] = []
        for name, value in pairs:
            path = _KEY_PART.sub(r".\1", name)
            found += (Leaf("", name), *_list_inside(value, path))
        return found or [Leaf("", text)]
    return list(_list_inside(text, ""))


def _list_inside(text: str, path: str) -> Iterator[Leaf]:
    """Yield what a text holds that is JSON itself, as forms have it; else the text."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            document = json.loads(
                text.lstrip("\ufeff"),
                object_pairs_hook=_Pairs,
                parse_int=_Number,
                parse_float=str,
                strict=False,
            )
        except (ValueError, RecursionError):
            pass
        else:
            yield from _walk(document, path)
            return
    yield Leaf(path, text)


def _walk(node: Any, path: str) -> Iterator[Leaf]:  # noqa: ANN401 -- JSON
    if isinstance(node, _Pairs):
        for name, value in node:
            yield Leaf("", name)
            yield from _walk(value, f"{path}.{name}" if path else name)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value, path)
    elif isinstance(node, _Number):
        yield Leaf(path, node, is_number=True)
    elif isinstance(node, str):
        yield from _list_inside(node, path)
