"""IP addresses in text: where they stand, and the network that is left when they are masked."""

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from callkeeper_assets.privacy.numbers import Place

# As usual: an address of version 4 without its last byte, one of version 6 without the last ten.
_KEPT_BITS: Final = {4: 24, 6: 48}
_ADDRESS: Final = re.compile(
    r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])"
    r"|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:])"
)


# A call names one address several times.
@lru_cache(maxsize=1024)
def mask_address(text: str) -> str | None:
    """Return the first address of the text's network, such as 203.0.113.0; None if it is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    network = ipaddress.ip_network((address, _KEPT_BITS[address.version]), strict=False)
    return str(network.network_address)


def find_addresses(text: str) -> Iterator[Place]:
    """Yield where addresses stand in a text."""
    for found in _ADDRESS.finditer(text):
        if mask_address(found[0]) is not None:
            yield Place(found.start(), found.end())


def has_address(text: str) -> bool:
    """Whether an address stands in a text."""
    return next(find_addresses(text), None) is not None
