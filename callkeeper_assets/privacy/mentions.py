"""What becomes of a text in another's call that mentions a forgotten client: its numbers go.

By the call alone, as all erasing: every number goes, whosesoever. What only looks like one stays:
versions of browsers, ids of visitors, addresses.
"""

import re
from typing import Final

from callkeeper_assets.privacy.addresses import has_address
from callkeeper_assets.privacy.agents import mask_agent
from callkeeper_assets.privacy.fields import Kind
from callkeeper_assets.privacy.numbers import ERASED, erase_numbers, find_sure
from callkeeper_assets.privacy.rule import replace_places

# They stand behind a slash, and have as many digits as numbers have.
_VERSION: Final = re.compile(r"/[0-9][0-9._]*")


def erase_in_anothers(text: str, kind: Kind) -> str:
    """Return a text of another's call without numbers; the same if there is none."""
    if kind == "agent":
        plain = _VERSION.sub("/", text)
        return text if erase_numbers(plain) == plain else mask_agent(text)
    if kind == "visitor":
        # Ids of a browser are long numbers: only what is surely a phone's goes.
        return replace_places(text, ((one, ERASED) for one in find_sure(text, also_bare=True)))
    if kind == "address" and has_address(text):
        return text
    return erase_numbers(text)
