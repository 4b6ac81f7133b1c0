"""Phone numbers in text: one form for all writings of a number, and where they stand.

Without a plus, ten digits and eleven that begin with 8 are Russian: 8 (916) 123-45-67, 9161234567
and +7 916 123-45-67 are one number. A number in a text is recognised in any writing: with spaces,
brackets, dashes and dots between its digits, URL-encoded too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# What may stand between two digits of one number; the last ones as JSON, HTML and URLs write them.
_BETWEEN: Final = (
    r"(?:[\s().\-+_/\\~\u00a0\u2010-\u2015\u202f]"
    r"|%(?:20|28|29|2[BbDdEeFf]|C2%A0|c2%a0)|\\u00[aA]0|&nbsp;)"
)
_PLUS: Final = r"(?:\+|%2[Bb])"
# Not within a character as URLs write it: %20 is no digit.
_FRESH: Final = r"(?<!%)(?<!%[0-9A-Fa-f])"
_RUN: Final = re.compile(rf"(?:{_PLUS}|{_FRESH})[0-9](?:{_BETWEEN}{{0,3}}[0-9]){{6,}}")
_DIGIT: Final = re.compile(r"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|&nbsp;|([0-9])")
# Surely a phone number, whatever stands around it. Russian ones first: their length is known, so
# that the second of two numbers beside each other is not taken for a part of the first.
_SURE: Final = re.compile(
    rf"{_PLUS}{_BETWEEN}{{0,2}}7(?:{_BETWEEN}{{0,3}}[0-9]){{10}}(?![0-9])"
    rf"|{_PLUS}{_BETWEEN}{{0,2}}[1-9](?:{_BETWEEN}{{0,3}}[0-9]){{9,14}}(?![0-9])"
    rf"|(?<![0-9]){_FRESH}[78]{_BETWEEN}{{1,3}}[0-9]{{3}}{_BETWEEN}{{1,3}}[0-9]{{3}}{_BETWEEN}?[0-9]{{2}}"
    rf"{_BETWEEN}?[0-9]{{2}}(?![0-9])"
)
# Eleven digits as Russian numbers begin.
_BARE: Final = re.compile(r"(?<![\w.])[78][3-9][0-9]{9}(?!\w)")
# Whatever could be one.
_MAYBE: Final = re.compile(
    rf"(?:{_PLUS}|(?<![0-9]){_FRESH})[0-9](?:{_BETWEEN}{{0,3}}[0-9]){{9,14}}(?![0-9])"
)
_LONG: Final = re.compile(r"[0-9]{10,}")

# Several numbers in one text, as CallKeeper has a call's managers: see phone_list in macros.sql.
_ENTRY: Final = (
    r"(?:[^@^]+@[^_@^]+|sips?:[^_@^]+|tel_[a-p]{20}|[+]?[(]?[0-9*][0-9*().\s-]*)(?:\^[^_@^]*)?"
)
_FIRST_ENTRY: Final = re.compile(_ENTRY, re.ASCII)
_LIST: Final = re.compile(rf"{_ENTRY}(?:_{_ENTRY})*_?", re.ASCII)

RUSSIAN_DIGITS: Final = 10
_RUSSIAN_BEGINNINGS: Final = frozenset("346789")
# Digits that may stand before the ten of a Russian number, and before any other one.
_RUSSIAN_PREFIXES: Final = frozenset(("", "7", "8", "007", "8107"))
_OTHER_PREFIXES: Final = frozenset(("", "00", "810"))
# Shorter ones are extensions: looked for in other texts, they would be found in every one.
SHORTEST_SOUGHT: Final = 7
ERASED: Final = "***"
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")


@dataclass(frozen=True)
class Place:
    """Where a number stands in a text: from its first digit or plus to behind its last digit."""

    start: int
    end: int


def read_digits(text: str) -> str:
    """Return the ASCII digits of a text."""
    return "".join(one for one in text if "0" <= one <= "9")


def normalise(text: str) -> str:
    """Return a number's digits with its country's code, the same for all its writings.

    What stands behind `^` is an extension and does not count. Empty if there is no digit.
    """
    written = text.partition("^")[0].strip()
    digits = read_digits(written)
    if written.startswith("+"):
        return digits
    if digits.startswith("810") and len(digits) > RUSSIAN_DIGITS + 1:
        return digits[3:]
    if digits.startswith("00"):
        return digits[2:]
    if len(digits) == RUSSIAN_DIGITS and digits[0] in _RUSSIAN_BEGINNINGS:
        return f"7{digits}"
    if len(digits) == RUSSIAN_DIGITS + 1 and digits[0] == "8" and digits[1] in _RUSSIAN_BEGINNINGS:
        return f"7{digits[1:]}"
    return digits


def split_list(text: str) -> list[str]:
    """Return the numbers of a list, each with its extension; of another text the text itself.

    Joined by `_` they are the text again; one that ends with `_` has an empty one behind it.
    """
    if "_" not in text or not _LIST.fullmatch(text):
        return [text]
    entries, rest = [], text
    while rest:
        entry = _FIRST_ENTRY.match(rest)
        end = entry.end() if entry else len(rest)
        if rest[end : end + 1] not in ("", "_"):
            return [text]
        entries.append(rest[:end])
        if end + 1 == len(rest):
            entries.append("")
        rest = rest[end + 1 :]
    return entries


def _is_russian(number: str) -> bool:
    return len(number) == RUSSIAN_DIGITS + 1 and number[0] == "7"


def find_number(text: str, number: str) -> Iterator[Place]:
    """Yield where a number, as `normalise` returns it, stands in a text, in any writing."""
    is_russian = _is_russian(number)
    core = number[1:] if is_russian else number
    prefixes = _RUSSIAN_PREFIXES if is_russian else _OTHER_PREFIXES
    for run in _RUN.finditer(text):
        places = [run.start() + one.start() for one in _DIGIT.finditer(run[0]) if one[1]]
        digits = "".join(text[place] for place in places)
        at = digits.find(core)
        while at >= 0:
            found = _check_place(text, places, at, len(core), prefixes)
            if found:
                yield found
            at = digits.find(core, at + len(core) if found else at + 1)


def _check_place(
    text: str, places: list[int], at: int, length: int, prefixes: frozenset[str]
) -> Place | None:
    """Return a number's place if its digits are no part of a longer number."""
    last = at + length - 1
    if last + 1 < len(places) and places[last + 1] == places[last] + 1:
        return None
    first = at
    while first and places[first - 1] == places[first] - 1:
        first -= 1
    adjoining = "".join(text[place] for place in places[first:at])
    if adjoining not in prefixes:
        return None
    if not adjoining and at and text[places[at - 1]] in "78" and "7" in prefixes:
        # 8 (916) …: the digit before the code is the number's, unless it ends another one.
        is_alone = at == 1 or places[at - 2] != places[at - 1] - 1
        first = at - 1 if is_alone else at
    start = places[first]
    for plus in ("+", "%2B", "%2b"):
        if text.endswith(plus, 0, start):
            return Place(start - len(plus), places[last] + 1)
    return Place(start, places[last] + 1)


def has_number(text: str, number: str) -> bool:
    """Whether a number, as `normalise` returns it, stands in a text, in any writing."""
    return next(find_number(text, number), None) is not None


def build_search(number: str) -> "re.Pattern[str]":
    """Return a pattern that is in every text that `find_number` finds the number in.

    For looking through much text: it is faster, and may be in other texts as well.
    """
    core = number[1:] if _is_russian(number) else number
    return re.compile(f"{_BETWEEN}{{0,3}}".join(core))


def find_sure(text: str, *, also_bare: bool) -> Iterator[Place]:
    """Yield what is surely a phone number: with a plus, or in a Russian writing.

    Args:
        text: Any.
        also_bare: Also eleven digits that begin as a Russian number does: not for texts that have
            ids in them.
    """
    for pattern in (_SURE, _BARE) if also_bare else (_SURE,):
        for found in pattern.finditer(text):
            yield Place(found.start(), found.end())


def could_hold_number(text: str) -> bool:
    """Whether a text has digits enough for a phone number; fast, since most have not."""
    if len(text) < SHORTEST_SOUGHT:
        return False
    return len(text.encode("utf-8", "replace").translate(None, _NO_DIGITS)) >= SHORTEST_SOUGHT


def erase_numbers(text: str) -> str:
    """Return a text without anything that could be a phone number, which ids can be as well."""
    return _LONG.sub(ERASED, _MAYBE.sub(ERASED, text))
