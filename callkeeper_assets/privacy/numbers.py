"""What a phone number or an IP address is in a text: one form for all writings, and its place.

A text is folded to plain digits, each with its place; countries' dialling plans say which digits
can be one number. IP addresses are masked to their network. Pure functions on text.
"""

import html
import ipaddress
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Twice escaped is usual, in a page's address within another one; a fifth time is nobody's.
_MOST_PASSES: Final = 4
_ESCAPE: Final = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+"
    r"|%u[0-9A-Fa-f]{4}"
    # Half of a character beyond the first 65536, and its other half.
    r"|\\+u[dD][89ABab][0-9A-Fa-f]{2}\\+u[dD][C-Fc-f][0-9A-Fa-f]{2}"
    r"|\\+u[0-9A-Fa-f]{4}"
    r"|\\+[ntrfb\"/]"
    r"|&#[0-9]{1,7};?|&#[xX][0-9A-Fa-f]{1,6};?|&[A-Za-z]{2,8};"
)
_UNITS: Final = re.compile("u([0-9A-Fa-f]{4})")
_NOTHING: Final = frozenset(("Cf", "Mn", "Me"))
_SPACE: Final = frozenset(("Zs", "Zl", "Zp", "Cc"))
_BROKEN: Final = "\ufffd"
# Bytes of a character in UTF-8, by its first one.
_LENGTHS: Final = ((0xF0, 4), (0xE0, 3), (0xC0, 2), (0, 1))

_NEVER_ALONE: Final = ("44", "49")

_SHORTEST_INTERNATIONAL: Final = 8
LONGEST_NUMBER: Final = 15
# Shorter national numbers alone, without code or trunk, would be found in dates.
_SHORTEST_ALONE: Final = 9
_TEN: Final = 10
_ELEVEN: Final = 11
# What is dialled before another country's number.
_ABROAD: Final = ("00", "810", "011")

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
ERASED: Final = "***"
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Digits that may stand before a number: a country's code, its trunk, what is dialled before them.
_LONGEST_PREFIX: Final = 8

_LONGEST_FIELD: Final = 80

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# As usual: an address of version 4 without its last byte, one of version 6 without the last ten.
_KEPT_BITS: Final = {4: 24, 6: 48}
_TOKEN: Final = re.compile(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]+|::")
_FOUR: Final = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.]*[0-9])")
_LEAST_SIGNS: Final = 2
_VERSION_FOUR_BITS: Final = 32


class _Plain(dict[int, str]):
    """By character, its plain one; made as they are met."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _simplify(chr(code))
        return plain


def _simplify(one: str) -> str:
    kind = unicodedata.category(one)
    if kind == "Nd":
        return str(unicodedata.decimal(one))
    if kind in _NOTHING:
        return ""
    if kind in _SPACE:
        return " "
    if kind == "Pd" or one == "\u2212":
        return "-"
    wide = unicodedata.normalize("NFKC", one)
    # A superscript two is no digit of a number, and a ligature is not one character.
    return wide if len(wide) == 1 and wide.isascii() and not wide.isdigit() else one


_PLAIN: Final = _Plain()


@dataclass(frozen=True)
class View:
    """A text folded.

    Attributes:
        text: Folded.
        starts: By place in it, the place in the text itself; None where they are the same.
        ends: Likewise, behind the character.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the text itself a part of the folded one, not empty, stands."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> View:
    """Return a text as numbers are read in it."""
    view = View(text)
    for _ in range(_MOST_PASSES):
        if not _is_escaped(view.text):
            break
        view = _rebuild(view, _split(view.text))
    if view.text.isascii() and view.text.isprintable():
        return view
    plain = view.text.translate(_PLAIN)
    if len(plain) == len(view.text):
        return View(plain, view.starts, view.ends)
    return _rebuild(view, [(_PLAIN[ord(one)], at, at + 1) for at, one in enumerate(view.text)])


def _is_escaped(text: str) -> bool:
    return ("%" in text or "\\" in text or "&" in text) and _ESCAPE.search(text) is not None


def _rebuild(view: View, pieces: list[tuple[str, int, int]]) -> View:
    kept = [piece for piece in pieces if piece[0]]
    places = [view.locate(start, end) for _, start, end in kept]
    return View(
        "".join(one for one, _, _ in kept),
        [start for start, _ in places],
        [end for _, end in places],
    )


def _split(text: str) -> list[tuple[str, int, int]]:
    """Return a text's characters, each with its place; escapes count as what they stand for."""
    pieces: list[tuple[str, int, int]] = []
    done = 0
    for found in _ESCAPE.finditer(text):
        start, end = found.span()
        pieces += [(text[at], at, at + 1) for at in range(done, start)]
        if found[0][0] == "%" and found[0][1] != "u":
            pieces += _read_percent(found[0], start)
        else:
            pieces += [(one, start, end) for one in _read_escape(found[0])]
        done = end
    pieces += [(text[at], at, at + 1) for at in range(done, len(text))]
    return pieces


def _read_percent(run: str, start: int) -> list[tuple[str, int, int]]:
    """Read `%D0%BF`: characters in UTF-8, of one to four bytes."""
    content = bytes.fromhex(run.replace("%", ""))
    pieces, at = [], 0
    while at < len(content):
        lead = content[at]
        length = next(size for least, size in _LENGTHS if lead >= least)
        one = content[at : at + length].decode("utf-8", "replace")
        if len(one) != 1 or one == _BROKEN:
            one, length = _BROKEN, 1
        pieces.append((one, start + 3 * at, start + 3 * (at + length)))
        at += length
    return pieces


def _read_escape(escape: str) -> str:
    if escape[0] == "&":
        return html.unescape(escape)[:1]
    name = escape.lstrip("\\%")
    if name[0] == "u" and len(name) > 1:
        units = b"".join(int(one, 16).to_bytes(2, "big") for one in _UNITS.findall(name))
        return units.decode("utf-16-be", "replace")[:1]
    return name if name in '"/' else " "


def stands_for_itself(one: str) -> bool:
    """Whether a character can be no part of a number but by standing between its digits."""
    plain = _PLAIN[ord(one)]
    return one.isascii() or (plain != "" and plain not in "0123456789+")


@dataclass(frozen=True)
class NumberingPlan:
    """One country's numbers.

    Attributes:
        code: the country's.
        national: what is behind the code, whole.
        trunks: digits that are written before it instead of the code; the likeliest first.
        is_first: whether a number of so many digits is this country's, with no trunk and no code.
    """

    code: str
    national: "re.Pattern[str]"
    trunks: tuple[str, ...] = ("0",)
    is_first: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether its numbers are written without code and trunk as well."""
        return self.code not in _NEVER_ALONE


def _plan(code: str, national: str, *trunks: str, is_first: bool = False) -> NumberingPlan:
    return NumberingPlan(code, re.compile(national), trunks, is_first)


# In the order in which an ambiguous number is read.
PLANS: Final[dict[str, NumberingPlan]] = {
    one.code: one
    for one in (
        _plan("7", r"[346789]\d{9}", "8", is_first=True),
        _plan("375", r"[1-4]\d{8}", "80", "8", "0"),
        _plan("380", r"(?:3[1-9]|4[1-8]|5[0-8]|6[1-9]|73|89|9[1-9])\d{7}", "0", "80"),
        _plan("996", r"[2-9]\d{8}", "0"),
        _plan("994", r"[1-9]\d{8}", "0"),
        _plan("995", r"[2-8]\d{8}", "0", "8"),
        _plan("998", r"[2-9]\d{8}", "8", "0"),
        _plan("992", r"[0-9]\d{8}", "8"),
        _plan("374", r"[1-9]\d{7}", "0"),
        _plan("373", r"[2-9]\d{7}", "0"),
        _plan("993", r"[1-7]\d{7}", "8"),
        _plan("370", r"[3-9]\d{7}", "0", "8"),
        _plan("371", r"[2-9]\d{7}"),
        _plan("372", r"[3-9]\d{6,7}"),
        _plan("44", r"[1-9]\d{8,9}", "0"),
        _plan("49", r"[1-9]\d{7,10}", "0"),
        _plan("1", r"[2-9]\d{2}[2-9]\d{6}"),
    )
}
_OTHER: Final = ("0",)
# Countries whose numbers begin with a zero themselves.
_ZEROES: Final = frozenset(("39", "378", "225", "229", "241", "242", "269"))
_TWO_DIGITS: Final = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")
_UNUSED: Final = ("83", "89", "80", "87")


def split_code(number: str) -> tuple[str, str]:
    """Take a number with its country's code apart: the code, and the national number."""
    size = 1 if number[:1] in ("1", "7") else 2 if _TWO_DIGITS.match(number) else 3
    return number[:size], number[size:]


def list_trunks(code: str) -> tuple[str, ...]:
    """Return what is written before a country's national numbers."""
    plan = PLANS.get(code)
    if plan is not None:
        return plan.trunks
    return () if code in _ZEROES else _OTHER


def is_planned(number: str) -> bool:
    """Whether a number with its country's code is as that country's are, where that is known."""
    code, national = split_code(number)
    plan = PLANS.get(code)
    return plan is not None and plan.national.fullmatch(national) is not None


@lru_cache(maxsize=8192)
def read_number(digits: str, *, has_plus: bool) -> tuple[str, ...]:
    """Return what a number's digits can mean, each with its country's code; the likeliest first.

    Args:
        digits: ASCII, as they are written.
        has_plus: Whether a plus stands before them.
    """
    if has_plus:
        return _read_international(digits)
    readings: list[str] = []
    for prefix in _ABROAD:
        rest = digits[len(prefix) :]
        # 810 also begins numbers of Minsk and of Russia, which have eleven digits.
        is_one = prefix != "810" or len(digits) > _ELEVEN
        if is_one and digits.startswith(prefix) and len(rest) >= _SHORTEST_INTERNATIONAL:
            readings += _read_international(rest)
    readings += _read_national(digits)
    if len(digits) > _TEN:
        readings += _read_international(digits)
    return tuple(dict.fromkeys(readings)) or (digits,)


def _read_national(digits: str) -> list[str]:
    """Return readings without the country's code: with a trunk, then without one."""
    found: list[str] = []
    bare: list[str] = []
    for plan in PLANS.values():
        if plan.is_alone and plan.national.fullmatch(digits):
            (found if plan.is_first else bare).append(plan.code + digits)
        found += [
            plan.code + digits[len(trunk) :]
            for trunk in plan.trunks
            if digits.startswith(trunk) and plan.national.fullmatch(digits, len(trunk))
        ]
    if len(digits) < _SHORTEST_ALONE or not bare:
        return found
    # A number with no sign of its country is first of all itself.
    return [*(found or [digits]), *bare]


def _read_international(digits: str) -> tuple[str, ...]:
    """Return readings of digits behind a plus: +44 (0)20 and +7 8 916 have a trunk too many."""
    code, national = split_code(digits)
    plan = PLANS.get(code)
    if plan is None:
        readings = []
        if len(digits) == _ELEVEN and digits[0] == "8" and PLANS["7"].national.match(digits, 1):
            # +8 916 …: a Russian number with its trunk, where no country has such a code.
            russian = f"7{digits[1:]}"
            readings = [russian, digits] if digits[:2] in _UNUSED else [digits, russian]
        elif national.startswith("0") and code not in _ZEROES and len(national) > 1:
            readings = [code + national[1:]]
        return tuple(readings or [digits])
    if plan.national.fullmatch(national):
        return (digits,)
    # (0) is written with any country's code.
    for trunk in (*plan.trunks, "0"):
        if national.startswith(trunk) and plan.national.fullmatch(national, len(trunk)):
            return (code + national[len(trunk) :],)
    return (digits,)


@dataclass(frozen=True)
class Wanted:
    """A number as it is looked for in a run of digits.

    Attributes:
        core: its national part; where no country can be found, the number.
        prefixes: what may stand before that, as digits.
    """

    core: str
    prefixes: frozenset[str]


@lru_cache(maxsize=4096)
def want(number: str) -> Wanted:
    """Return how a number, with its country's code, can be written."""
    code, national = split_code(number)
    if len(number) <= _TEN and not is_planned(number):
        return Wanted(number, frozenset(("", "00", "810")))
    trunks = list_trunks(code)
    codes = [code, *(code + trunk for trunk in {*trunks, "0"})]
    prefixes = {*codes, *trunks, *(abroad + one for abroad in _ABROAD for one in codes)}
    if len(national) >= _SHORTEST_ALONE:
        prefixes.add("")
    return Wanted(national, frozenset(prefixes))


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


@dataclass(frozen=True)
class NumberSpan:
    """Where a number stands in a text: from its first digit or plus to behind its last digit."""

    start: int
    end: int


@dataclass(frozen=True)
class FoundNumber:
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


def normalise_number(text: str) -> str:
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


def find_numbers(text: str) -> list[FoundNumber]:
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
                    found.append(FoundNumber(*place, keys))
    return found


def find_in_view(view: View, number: str) -> Iterator[NumberSpan]:
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
                yield NumberSpan(*view.locate(start, places[at + len(core) - 1] + 1))
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


def find_number(text: str, number: str) -> Iterator[NumberSpan]:
    """Yield where a number, as `normalise_number` returns it, stands in a text, in any writing."""
    return find_in_view(fold(text), number)


def has_number(text: str, number: str) -> bool:
    """Whether a number, as `normalise_number` returns it, stands in a text, in any writing."""
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


def find_sure(text: str, *, also_bare: bool) -> Iterator[NumberSpan]:
    """Yield what is surely a phone number: with a plus, in a national writing, or named as one.

    Args:
        text: Any.
        also_bare: Also eleven digits that begin as a Russian number does: not for texts that have
            ids in them.
    """
    return (place for place, _ in find_sure_in_view(fold(text), also_bare=also_bare))


def find_sure_in_view(view: View, *, also_bare: bool) -> Iterator[tuple[NumberSpan, str]]:
    """As `find_sure`, in a text that is folded already; with what stands there."""
    for pattern in (_SURE, _NAMED, _BARE) if also_bare else (_SURE, _NAMED):
        group = pattern.groups
        for found in pattern.finditer(view.text):
            yield NumberSpan(*view.locate(*found.span(group))), found[group]


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


# A call names one address several times.
@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Return the address that a text is, version 4 where it holds one; None if it is none."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    # ::1 and :: say nothing of anybody, but are masked as any other.
    if embedded is None and 1 < int(address) < 1 << _VERSION_FOUR_BITS:
        embedded = ipaddress.IPv4Address(int(address))
    return embedded or address


@lru_cache(maxsize=4096)
def mask_address(text: str) -> str | None:
    """Return the first address of the text's network, such as 203.0.113.0; None if it is none."""
    address = read_address(text)
    if address is None:
        return None
    network = ipaddress.ip_network((address, _KEPT_BITS[address.version]), strict=False)
    return str(network.network_address)


def find_addresses(text: str) -> Iterator[NumberSpan]:
    """Yield where addresses stand in a text, whole."""
    return (place for place, _ in read_addresses(fold(text)))


def read_addresses(view: View) -> Iterator[tuple[NumberSpan, Address]]:
    """Yield the addresses of a folded text, and where they stand in the text itself."""
    text = view.text
    if text.count(".") + text.count(":") < _LEAST_SIGNS:
        return
    for found in _TOKEN.finditer(text):
        for start, end in _list_candidates(text, found.start(), found.end()):
            address = read_address(text[start:end])
            if address is not None:
                yield NumberSpan(*view.locate(start, end)), address
                break
        else:
            for one in _FOUR.finditer(text, found.start(), found.end()):
                address = read_address(one[0])
                if address is not None and _is_apart(text, *one.span()):
                    yield NumberSpan(*view.locate(*one.span())), address


def _list_candidates(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what of a token may be an address of version 6: with and without what ends a phrase."""
    if text.count(":", start, end) < _LEAST_SIGNS:
        return
    while end > start and text[end - 1] == ".":
        end -= 1
    ends = [end, end - 1] if text[end - 1] == ":" else [end]
    starts = [start, start + 1] if text[start] == ":" else [start]
    for one in starts:
        # A word before it that ends in letters of hexadecimal digits is no part of it.
        if one and text[one] != ":" and (text[one - 1].isalnum() or text[one - 1] == "_"):
            continue
        for other in ends:
            if not (other < len(text) and text[other].isalnum()):
                yield one, other


def _is_apart(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")


def has_address(text: str) -> bool:
    """Whether an address stands in a text."""
    return next(find_addresses(text), None) is not None
