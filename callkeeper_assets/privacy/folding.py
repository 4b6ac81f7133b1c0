"""A text as a phone number is read in it: plain digits, and where each of them stood.

Every decimal digit of Unicode is its digit, and whatever is no sign at all (marks of direction,
zero-width characters, soft hyphens) is nothing. What URLs, JSON and HTML escape is what it stands
for, also twice escaped.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
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
