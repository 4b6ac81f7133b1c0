"""How countries write their numbers: codes, lengths, and the digits that are dialled before one.

Small on purpose: the countries in which 8 or 0 is written before a number instead of its country's
code, and those whose clients call them. Any other number is read by its country's code alone.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final


@dataclass(frozen=True)
class Plan:
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


_NEVER_ALONE: Final = ("44", "49")


def _plan(code: str, national: str, *trunks: str, is_first: bool = False) -> Plan:
    return Plan(code, re.compile(national), trunks, is_first)


# In the order in which an ambiguous number is read.
PLANS: Final[dict[str, Plan]] = {
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

_SHORTEST_INTERNATIONAL: Final = 8
LONGEST_NUMBER: Final = 15
# Shorter national numbers alone, without code or trunk, would be found in dates.
_SHORTEST_ALONE: Final = 9
_TEN: Final = 10
_ELEVEN: Final = 11
# What is dialled before another country's number.
_ABROAD: Final = ("00", "810", "011")


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
        core: its national part; where no country can be told, the number.
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
