"""A phone field's value: which numbers it has, and what becomes of it under a rule.

One number as a rule, sometimes several (`…1^12_…3^34`, `…;…`), with extensions, within a SIP
address, or nothing that anybody can read: that is hidden whole.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from callkeeper_assets.privacy.folding import fold
from callkeeper_assets.privacy.numbers import (
    ERASED,
    GAP,
    SEPARATOR,
    SHORTEST_SOUGHT,
    SIGN,
    match_extension,
    match_run,
)
from callkeeper_assets.privacy.plans import LONGEST_NUMBER, is_planned, read_number

_TOKEN: Final = re.compile(r"tel_[a-p]{20}")
# As masking leaves a number: so many digits at most, then those that are hidden.
MOST_SHOWN: Final = 9
_MASKED: Final = re.compile(
    rf"\+?{SEPARATOR}{{0,2}}(?:[0-9]{GAP}){{0,{MOST_SHOWN}}}\*(?:{SEPARATOR}{{0,4}}\*){{3,}}(?![0-9*])"
    r"|\*{3}(?![0-9*])"
)
_GROUP: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[^\W_]+")
# Of a SIP address: it may name a person, or be an address of the network.
_HOST: Final = re.compile(r"@[^\s;,^_>]+")
_FLOAT: Final = re.compile(r"\s*(\+?[0-9]{7,15})\.0+\s*")
_POWER: Final = re.compile(r"\s*[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,2}\s*")
_LONGEST: Final = 200
# Words beside a number that say nothing of anybody.
_HARMLESS: Final = frozenset(("tel", "sip", "sips", "callto", "phone", "тел", "моб", "телефон"))
# What stands where there is no number.
_NOBODY: Final = frozenset(
    (
        *("anonymous", "unknown", "private", "restricted", "unavailable", "withheld", "hidden"),
        *("none", "null", "no", "number", "true", "false", "аноним", "анонимный", "скрыт"),
        *("скрытый", "номер", "неизвестен", "неизвестно", "не", "определен", "определён", "нет"),
    )
)
_MOST_EXTENSION_DIGITS: Final = 6
# Of several numbers; nobody writes more into one field.
_MOST_DIGITS: Final = 60

Part = Literal["number", "extension", "hidden"]


@dataclass(frozen=True)
class Piece:
    """A piece of a field.

    Attributes:
        start: Where it stands.
        end: Behind it.
        readings: Of a number: what it can mean, the likeliest first.
    """

    part: Part
    start: int
    end: int
    readings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhoneField:
    """A field's value, taken apart.

    Attributes:
        pieces: In order; none if there is no number.
        is_read: Whether it is understood whole; if not, it must not be seen.
        is_plain: Whether beside its pieces there is nothing but signs.
    """

    text: str
    pieces: tuple[Piece, ...]
    is_read: bool
    is_plain: bool

    @property
    def numbers(self) -> tuple[tuple[str, ...], ...]:
        """The readings of each of its numbers that is long enough to be looked for."""
        return tuple(
            piece.readings
            for piece in self.pieces
            if piece.part == "number" and len(piece.readings[0]) >= SHORTEST_SOUGHT
        )

    @property
    def is_hidden(self) -> bool:
        """Whether all its numbers are hidden already, and it has some."""
        return bool(self.pieces) and all(piece.part != "number" for piece in self.pieces)


@lru_cache(maxsize=8192)
def read_field(text: str) -> PhoneField:
    """Take a phone field's value apart."""
    if len(text) > _LONGEST:
        return PhoneField(text, (), is_read=False, is_plain=False)
    view = fold(text)
    folded = view.text
    # As spreadsheets and some JSON have whole numbers.
    if whole := _FLOAT.fullmatch(folded):
        return read_field(whole[1])
    if _POWER.fullmatch(folded) and float(folded).is_integer():
        return read_field(str(int(float(folded))))
    pieces, rest = _split(folded)
    if pieces is None:
        return PhoneField(text, (), is_read=False, is_plain=False)
    words = {word.lower() for word in _WORD.findall("".join(rest))}
    located = tuple(
        Piece(one.part, *view.locate(one.start, one.end), one.readings) for one in pieces
    )
    is_plain = words <= _HARMLESS
    if not is_plain and any(_is_long(one) for one in located):
        # Other digits of a text around a number are no numbers.
        located = tuple(one for one in located if one.part != "number" or _is_long(one))
    is_nobody = not located and words <= _NOBODY
    return PhoneField(text, located, is_read=bool(located) or is_nobody, is_plain=is_plain)


def _is_long(piece: Piece) -> bool:
    return piece.part == "number" and len(piece.readings[0]) >= SHORTEST_SOUGHT


def _split(text: str) -> tuple[list[Piece] | None, list[str]]:
    """Return a folded text's pieces, and the text between them; no pieces if it cannot be read."""
    pieces: list[Piece] = []
    rest: list[str] = []
    at = 0
    while at < len(text):
        if host := _HOST.match(text, at):
            rest.append("@host")
            at = host.end()
            continue
        hidden = _TOKEN.match(text, at) or _MASKED.match(text, at)
        extension = match_extension(text, at) if pieces and not hidden else None
        if hidden:
            pieces.append(Piece("hidden", at, hidden.end()))
            at = hidden.end()
        elif extension and pieces[-1].part != "extension":
            pieces.append(Piece("extension", extension.start(1), extension.end()))
            at = extension.end()
        elif run := match_run(text, at):
            numbers = _read_run(text, at, run.end())
            if numbers is None:
                return None, rest
            pieces += numbers
            at = run.end()
        else:
            rest.append(text[at])
            at += 1
    return pieces, rest


def _read_run(text: str, start: int, end: int) -> list[Piece] | None:
    """Return the numbers of a run of digits and separators; None if they cannot be told apart."""
    groups = [found.span() for found in _GROUP.finditer(text, start, end)]
    digits = sum(end - start for start, end in groups)
    found = _part_run(text, groups) if digits <= _MOST_DIGITS else None
    if found is not None:
        return found
    if digits > LONGEST_NUMBER:
        return None
    written = "".join(text[one:other] for one, other in groups)
    return [Piece("number", start, end, read_number(written, has_plus=text[start] == "+"))]


def _part_run(text: str, groups: list[tuple[int, int]]) -> list[Piece] | None:
    """Return a run as numbers of known forms, the fewest; a short rest is an extension."""
    if not groups:
        return []
    left = sum(end - start for start, end in groups)
    sign = SIGN.search(text, max(0, groups[0][0] - 3), groups[0][0])
    start = sign.start() if sign else groups[0][0]
    for size in range(len(groups), 0, -1):
        digits = "".join(text[one:other] for one, other in groups[:size])
        if not SHORTEST_SOUGHT <= len(digits) <= LONGEST_NUMBER + 3:
            continue
        numbers = read_number(digits, has_plus=sign is not None)
        if not is_planned(numbers[0]):
            continue
        piece = Piece("number", start, groups[size - 1][1], numbers)
        if size < len(groups) and left - len(digits) <= _MOST_EXTENSION_DIGITS:
            return [piece, Piece("extension", groups[size][0], groups[-1][1])]
        rest = _part_run(text, groups[size:])
        if rest is not None:
            return [piece, *rest]
    return None


# Gets a number and how it is written; gives what is put in its place.
Replace = Callable[[Piece, str], str]


def hide_field(field: PhoneField) -> str:
    """Return what is left of a field without a number that can be read."""
    return field.text if field.is_read and not field.pieces else ERASED


def replace_in_field(field: PhoneField, replace: Replace) -> str:
    """Return a field with each number replaced, and all else as it is."""
    done, end = [], 0
    for piece in field.pieces:
        if piece.part == "number":
            written = field.text[piece.start : piece.end]
            done += [field.text[end : piece.start], replace(piece, written)]
            end = piece.end
    return "".join((*done, field.text[end:]))


def join_field(field: PhoneField, replace: Replace, *, keeps_extensions: bool) -> str:
    """Return what replaces a field's numbers, each once, and nothing else that was in it."""
    return ";".join(dict.fromkeys(_list_parts(field, replace, keeps_extensions=keeps_extensions)))


def _list_parts(field: PhoneField, replace: Replace, *, keeps_extensions: bool) -> Iterator[str]:
    shown = ""
    for piece in field.pieces:
        written = field.text[piece.start : piece.end]
        if piece.part == "extension":
            shown += f"^{written}" if keeps_extensions else ""
            continue
        if shown:
            yield shown
        shown = replace(piece, written) if piece.part == "number" else written
    yield shown
