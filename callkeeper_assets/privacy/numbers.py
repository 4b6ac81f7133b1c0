"""What a phone number is: one form for all writings of a number, and where they stand in a text.

The one place that says so. Numbers are read in a text as `folding` gives it, so that digits of any
script, invisible marks and escapes of URLs, JSON and HTML make no difference, and as `plans` know
countries to write them. Without a plus, ten digits and eleven that begin with 8 are Russian.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from callkeeper_assets.privacy.folding import View, fold
from callkeeper_assets.privacy.plans import (
    LONGEST_NUMBER,
    read_number,
    want,
)

# What may stand between two digits of one number, in a folded text. Not what begins an extension:
# a comma, `;`, `x`, `#`, `^`, `*`, or a word.
SEPARATOR: Final = r"[ ()\[\].\-+_/\\~\u00b7\u2022\u2219]"
GAP: Final = rf"{SEPARATOR}{{0,4}}"
_RUN: Final = re.compile(rf"(?:\+{SEPARATOR}{{0,2}})?[0-9](?:{GAP}[0-9]){{6,}}")
_ANY_RUN: Final = re.compile(rf"(?:\+{SEPARATOR}{{0,2}})?[0-9](?:{GAP}[0-9])*")
_GROUP: Final = re.compile(r"[0-9]+")
# Behind one of these stands an extension, if a few digits do.
_EXTENSION: Final = re.compile(
    r"[ ;,.\-]*(?:\^|\#|;?ext(?:en)?(?:sion)?\.?|x|w|p|,|;|доб(?:авочный)?\.?|вн(?:утр)?\.?)"
    r"[ .:=\-]*([0-9]{1,6})(?![ .\-()/]?[0-9])",
    re.IGNORECASE,
)

_THREE, _TWO = "[0-9]{3}", "[0-9]{2}"
_WIDE: Final = rf"{SEPARATOR}{{1,4}}"
_LAST: Final = rf"{SEPARATOR}?{_TWO}{SEPARATOR}?{_TWO}(?![0-9])"
# Surely a phone number, whatever stands around it. Russian ones first: their length is known, so
# that the second of two numbers beside each other is not taken for a part of the first.
_SURE: Final = re.compile(
    rf"\+{SEPARATOR}{{0,2}}7(?:{GAP}[0-9]){{10}}(?![0-9])"
    rf"|\+{SEPARATOR}{{0,2}}[1-9](?:{GAP}[0-9]){{9,14}}(?![0-9])"
    # 8 (916) 123-45-67 and 8 029 123-45-67
    rf"|(?<![0-9])[78]{_WIDE}{_THREE}{_WIDE}{_THREE}{_LAST}"
    # (916) 123-45-67, 050 123-45-67
    rf"|(?<![0-9])(?:\({_THREE}\)|0[0-9]{{2}}){_WIDE}{_THREE}-{_TWO}-{_TWO}(?![0-9])"
    # 020 7946 0958, as in Britain
    rf"|(?<![0-9])\(?0[0-9]{{2,4}}\)?[ \-][0-9]{{3,4}}[ \-][0-9]{{4}}(?![0-9])"
)
# Digits of which the text itself says that they are a number. `quick` looks for these words too.
_NAMED: Final = re.compile(
    r"(?:tel[:=]|phone[:=]|telefon[:=]|msisdn[:=]|sips?:|callto:|wa\.me/|тел(?:ефон)?[.: ]{1,2})"
    rf" ?(\+?{SEPARATOR}{{0,2}}[0-9](?:{GAP}[0-9]){{6,}}+)(?!{GAP}\*)",
    re.IGNORECASE,
)
# Eleven digits as Russian numbers begin.
_BARE: Final = re.compile(r"(?<![\w.])[78][3-9][0-9]{9}(?!\w)")
# As many digits as a number has, of which nothing else is known.
_ALONE: Final = re.compile(r"(?<![0-9.])[0-9]{10,15}(?![0-9])")
# Whatever could be one.
_MAYBE: Final = re.compile(rf"(?:\+|(?<![0-9]))[0-9](?:{GAP}[0-9]){{9,14}}(?![0-9])|[0-9]{{10,}}")

SIGN: Final = re.compile(rf"\+{SEPARATOR}{{0,2}}\Z")
# Usual escapes of what is no digit: spaces, brackets, dashes, Cyrillic.
_HARMLESS: Final = re.compile(
    r"%[dD][01]%[89AaBb][0-9A-Fa-f]|%[eE]2%8[0-9A-Fa-f]%[89AaBb][0-9A-Fa-f]|%[cC]2%[89AaBb][0-9A-Fa-f]"
    r"|%(?:2[0-489A-Fa-f]|3[A-Fa-f]|40|5[BbDdFf]|7[BbDdEe])|\\u(?:04|20)[0-9A-Fa-f]{2}"
)
# What may be a digit, or hide one.
_UNUSUAL: Final = re.compile(r"%[0-9A-Fa-fu][0-9A-Fa-f]|\\u|&#|[^\D0-9]")

# Shorter ones are extensions: looked for in other texts, they would be found in every one.
SHORTEST_SOUGHT: Final = 7
RUSSIAN_DIGITS: Final = 10
ERASED: Final = "***"
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Digits that may stand before a number: a country's code, its trunk, what is dialled before them.
_LONGEST_PREFIX: Final = 8


@dataclass(frozen=True)
class Place:
    """Where a number stands in a text: from its first digit or plus to behind its last digit."""

    start: int
    end: int


@dataclass(frozen=True)
class Found:
    """Where a text can be read as a number; `keys` are its readings, digits with the code."""

    start: int
    end: int
    keys: frozenset[str]


def read_digits(text: str) -> str:
    """Return the decimal digits of a text, of any script and however escaped, as ASCII ones."""
    return "".join(_GROUP.findall(fold(text).text))


def list_readings(text: str) -> tuple[str, ...]:
    """Return what a text's first number can mean, the likeliest first; none without a digit."""
    return _list_readings(text) if len(text) <= _LONGEST_FIELD else _list_readings.__wrapped__(text)


_LONGEST_FIELD: Final = 80


@lru_cache(maxsize=8192)
def _list_readings(text: str) -> tuple[str, ...]:
    found = _ANY_RUN.search(fold(text).text)
    if not found:
        return ()
    digits = "".join(_GROUP.findall(found[0]))
    return read_number(digits, has_plus=found[0].startswith("+"))


def readings(text: str) -> frozenset[str]:
    """Return all that a typed number can mean: digits with the country's code, without the plus.

    8 (916) 123-45-67 is one number; 0 501 23 45 67 is one of several countries.
    """
    return frozenset(list_readings(text))


def normalise(text: str) -> str:
    """Return a number's digits with its country's code, the same for all its writings.

    Of several readings it is the likeliest. An extension does not count. Empty if there is no
    digit.
    """
    found = list_readings(text)
    return found[0] if found else ""


def match_run(text: str, at: int) -> "re.Match[str] | None":
    """Return the digits and separators, of a folded text, that begin at a place."""
    return _ANY_RUN.match(text, at)


def match_extension(text: str, at: int) -> "re.Match[str] | None":
    """Return the extension, of a folded text, whose sign begins at a place."""
    return _EXTENSION.match(text, at)


def find_numbers(text: str) -> list[Found]:
    """Return every place that can be read as a number; they may overlap.

    For asking whether a number is among them: `keys` of a piece of a longer number are none of a
    shorter one, as pieces end where digits do.
    """
    view = fold(text)
    found = []
    for run in _RUN.finditer(view.text):
        groups = list(_GROUP.finditer(run[0]))
        for first, group in enumerate(groups):
            digits, start = "", run.start() + group.start()
            has_plus = "+" in view.text[max(0, start - 2) : start]
            for last in groups[first:]:
                digits += last[0]
                if len(digits) > LONGEST_NUMBER + _LONGEST_PREFIX:
                    break
                if len(digits) >= SHORTEST_SOUGHT:
                    place = view.locate(start, run.start() + last.end())
                    keys = frozenset(read_number(digits, has_plus=has_plus))
                    found.append(Found(*place, keys))
    return found


def find_in_view(view: View, number: str) -> Iterator[Place]:
    """As `find_number`, in a text that is folded already; places are those of the text itself."""
    wanted = want(number)
    core = wanted.core
    for run in _RUN.finditer(view.text):
        places = [run.start() + at for at, one in enumerate(run[0]) if "0" <= one <= "9"]
        digits = "".join([view.text[place] for place in places])
        at = digits.find(core)
        while at >= 0:
            start = _find_start(view.text, places, at, len(core), wanted.prefixes)
            if start is not None:
                yield Place(*view.locate(start, places[at + len(core) - 1] + 1))
            at = digits.find(core, at + 1 if start is None else at + len(core))


def _find_start(
    text: str, places: list[int], at: int, length: int, prefixes: Collection[str]
) -> int | None:
    """Return where a number begins; None if its digits are a part of a longer one."""
    last = at + length - 1
    if last + 1 < len(places) and places[last + 1] == places[last] + 1:
        return None
    from_place = max(0, at - _LONGEST_PREFIX)
    is_cut = from_place > 0 and places[from_place - 1] == places[from_place] - 1
    offset = places[from_place]
    groups = list(_GROUP.finditer(text, offset, places[at]))
    prefix, start = "", None
    for group in reversed(groups):
        prefix = group[0] + prefix
        if prefix in prefixes and not (is_cut and group.start() == offset):
            start = group.start()
    if start is None:
        is_glued = bool(groups) and groups[-1].end() == places[at]
        if is_glued or "" not in prefixes:
            return None
        start = places[at]
    sign = SIGN.search(text, max(0, start - 3), start)
    return sign.start() if sign else start


def find_number(text: str, number: str) -> Iterator[Place]:
    """Yield where a number, as `normalise` returns it, stands in a text, in any writing."""
    return find_in_view(fold(text), number)


def has_number(text: str, number: str) -> bool:
    """Whether a number, as `normalise` returns it, stands in a text, in any writing."""
    return next(find_number(text, number), None) is not None


def may_have(text: str, cores: Iterable[str]) -> bool:
    """Whether one of the numbers may stand in a text, in any writing; fast, for much text.

    Args:
        text: Any.
        cores: The numbers' digits without their country's code, `want` has them.
    """
    if not text.isascii() or "%" in text or "\\" in text or "&#" in text:
        text = _HARMLESS.sub(" ", text)
        if _UNUSUAL.search(text):
            text = fold(text).text
    squeezed = text.encode("utf-8", "replace").translate(None, _NO_DIGITS)
    return any(core.encode() in squeezed for core in cores)


def find_sure(text: str, *, also_bare: bool) -> Iterator[Place]:
    """Yield what is surely a phone number: with a plus, in a national writing, or named as one.

    Args:
        text: Any.
        also_bare: Also eleven digits that begin as a Russian number does: not for texts that have
            ids in them.
    """
    return (place for place, _ in find_sure_in_view(fold(text), also_bare=also_bare))


def find_sure_in_view(view: View, *, also_bare: bool) -> Iterator[tuple[Place, str]]:
    """As `find_sure`, in a text that is folded already; with what stands there."""
    for pattern in (_SURE, _NAMED, _BARE) if also_bare else (_SURE, _NAMED):
        group = pattern.groups
        for found in pattern.finditer(view.text):
            yield Place(*view.locate(*found.span(group))), found[group]


def could_hold_number(text: str) -> bool:
    """Whether a text has digits enough for a phone number; fast, since most have not."""
    if len(text) < SHORTEST_SOUGHT:
        return False
    if text.isascii():
        return len(text.encode().translate(None, _NO_DIGITS)) >= SHORTEST_SOUGHT
    return sum(map(str.isdecimal, text)) >= SHORTEST_SOUGHT


def has_run(text: str) -> bool:
    """Whether digits enough for a number stand together in a text: else it is none, in any way."""
    if not could_hold_number(text):
        return False
    return _RUN.search(text) is not None or _RUN.search(fold(text).text) is not None


def erase_numbers(text: str, mark: str = ERASED) -> str:
    """Return a text without anything that could be a phone number, which ids can be as well."""
    return _erase(text, (_MAYBE,), mark) if could_hold_number(text) else text


def hide_numbers(text: str, mark: str = ERASED) -> str:
    """Return a text, a log's line or an error, without its phone numbers; times stay."""
    return _erase(text, (_SURE, _NAMED, _ALONE), mark) if could_hold_number(text) else text


def _erase(text: str, patterns: Iterable["re.Pattern[str]"], mark: str) -> str:
    view = fold(text)
    places = sorted(
        view.locate(*found.span(pattern.groups))
        for pattern in patterns
        for found in pattern.finditer(view.text)
    )
    done, end = [], 0
    for start, behind in places:
        if start >= end:
            done += [text[end:start], mark]
        end = max(end, behind)
    return "".join((*done, text[end:]))
