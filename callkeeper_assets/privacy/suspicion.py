"""Whether one more number or address may be in texts: asked of all calls, so in bytes, and fast.

What a call itself names is looked for in its own texts, all else in those of many calls at once.
Finds too much rather than too little. What `numbers` and `addresses` find in a text must be found
here as well, in some way; a test holds it. Whoever gets an answer of yes asks them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from callkeeper_assets.privacy.folding import stands_for_itself
from callkeeper_assets.privacy.numbers import readings

_ASCII: Final = 0x80
_NO_DIGITS: Final = bytes(one for one in range(256) if chr(one) not in "0123456789")
# Bytes, in UTF-8, of Latin and Cyrillic letters and quotation marks: none of them is a digit's.
_USUAL: Final = bytes((*range(0xC0), 0xC2, 0xC3, 0xD0, 0xD1))
# Stands between values that are searched together: no part of a number, of an address or an escape.
_BETWEEN: Final = "|"


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
    """Whether there may be an address of version 6, by which one of version 4 may be told."""
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
