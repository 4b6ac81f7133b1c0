"""IP addresses in text: where they stand, and the network that is left when they are masked.

An address of version 4 within one of version 6 (`::ffff:203.0.113.7`, 6to4, `::203.0.113.7`) is the
address of version 4, however the other is abbreviated.
"""

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from callkeeper_assets.privacy.folding import View, fold
from callkeeper_assets.privacy.numbers import Place

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# As usual: an address of version 4 without its last byte, one of version 6 without the last ten.
_KEPT_BITS: Final = {4: 24, 6: 48}
_TOKEN: Final = re.compile(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]+|::")
_FOUR: Final = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.]*[0-9])")
_LEAST_SIGNS: Final = 2
_VERSION_FOUR_BITS: Final = 32


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


def find_addresses(text: str) -> Iterator[Place]:
    """Yield where addresses stand in a text, whole."""
    return (place for place, _ in read_addresses(fold(text)))


def read_addresses(view: View) -> Iterator[tuple[Place, Address]]:
    """Yield the addresses of a folded text, and where they stand in the text itself."""
    text = view.text
    if text.count(".") + text.count(":") < _LEAST_SIGNS:
        return
    for found in _TOKEN.finditer(text):
        for start, end in _list_candidates(text, found.start(), found.end()):
            address = read_address(text[start:end])
            if address is not None:
                yield Place(*view.locate(start, end)), address
                break
        else:
            for one in _FOUR.finditer(text, found.start(), found.end()):
                address = read_address(one[0])
                if address is not None and _is_apart(text, *one.span()):
                    yield Place(*view.locate(*one.span())), address


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
