"""What a source wants of its personal data, and what becomes of a single value by it.

Applied again, a rule changes nothing: what is masked or hashed is recognised. So raw calls may be
read and written as often as it takes.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from callkeeper_assets.privacy.addresses import find_addresses, mask_address
from callkeeper_assets.privacy.agents import mask_agent
from callkeeper_assets.privacy.numbers import Place, normalise, split_list

PhoneAction = Literal["keep", "mask", "hash"]
Action = Literal["keep", "mask", "drop"]

_HIDDEN: Final = "*"
_HIDDEN_DIGITS: Final = 4
_MASKED: Final = re.compile(r"(?:[^0-9*]*[0-9])*(?:[^0-9*]*\*){4}[^0-9*]*")
_MOST_DIGITS: Final = 15
_TOKEN_PREFIX: Final = "tel_"  # noqa: S105 -- of hashed numbers
_TOKEN: Final = re.compile(r"tel_[a-p]{20}")
_TOKEN_LETTERS: Final = 20
# Letters alone: no token can be taken for a number, nor a number be seen in one.
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


@dataclass(frozen=True)
class Rule:
    """A source's rule.

    Attributes:
        phones: of the client's numbers, and of every number whose owner is not known.
        manager_phones: of the company's numbers.
        key: for hashing; empty without.
    """

    phones: PhoneAction = "keep"
    manager_phones: PhoneAction = "keep"
    ips: Action = "keep"
    user_agents: Action = "keep"
    recordings: Action = "keep"
    key: bytes = field(default=b"", repr=False)

    @property
    def is_active(self) -> bool:
        """Whether it changes anything."""
        return {
            self.phones,
            self.manager_phones,
            self.ips,
            self.user_agents,
            self.recordings,
        } != {"keep"}

    @property
    def hashes(self) -> bool:
        """Whether it needs its key."""
        return "hash" in (self.phones, self.manager_phones)

    @property
    def setting(self) -> str:
        """The rule as text, without the key, but with what tells one key from another."""
        names = ("phones", "manager_phones", "ips", "user_agents", "recordings")
        parts = [f"{name}: {getattr(self, name)}" for name in names]
        if self.hashes:
            parts.append(f"key: {hash_number('0', self.key).removeprefix(_TOKEN_PREFIX)[:6]}")
        return ", ".join(parts)


KEEP_ALL: Final = Rule()


def hash_number(number: str, key: bytes) -> str:
    """Return the token that stands for a number, as `normalise` returns it."""
    digest = hmac.new(key, number.encode(), hashlib.sha256).hexdigest()
    return _TOKEN_PREFIX + digest[:_TOKEN_LETTERS].translate(_LETTERS)


def is_token(text: str) -> bool:
    """Whether a text is what hashing makes of a number."""
    return _TOKEN.fullmatch(text) is not None


def is_masked(text: str) -> bool:
    """Whether a text is what masking makes of a number."""
    return _HIDDEN in text and len(text) <= 2 * _MOST_DIGITS and bool(_MASKED.fullmatch(text))


def is_hidden(written: str) -> bool:
    """Whether a number is masked or hashed already."""
    return is_token(written) or is_masked(written)


def mask_number(text: str) -> str:
    """Return a number's own writing with its last four digits hidden."""
    letters = list(text)
    hidden = 0
    for place in range(len(letters) - 1, -1, -1):
        if "0" <= letters[place] <= "9":
            letters[place] = _HIDDEN
            hidden += 1
            if hidden == _HIDDEN_DIGITS:
                break
    return "".join(letters)


def protect_number(text: str, action: PhoneAction, key: bytes) -> str:
    """Return what a phone field's value becomes; its extension, behind `^`, stays.

    Of a list it is each number that becomes another. A text without a digit, such as `anonymous`,
    is no number and stays.
    """
    if action == "keep":
        return text
    return "_".join(_protect_one(one, action, key) for one in split_list(text))


def _protect_one(text: str, action: PhoneAction, key: bytes) -> str:
    written, caret, extension = text.partition("^")
    number = normalise(written)
    if not number or is_hidden(written.strip()):
        return text
    if action == "hash":
        return hash_number(number, key) + caret + extension
    return mask_number(written) + caret + extension


def protect_address(text: str, action: Action) -> str:
    """Return what an address field's value becomes; what is no address is dropped, not kept."""
    if action == "keep" or not text.strip():
        return text
    if action == "drop":
        return ""
    whole = mask_address(text)
    if whole is not None:
        return whole
    places = list(find_addresses(text))
    return replace_places(text, places, lambda one: mask_address(one) or "") if places else ""


def protect_agent(text: str, action: Action) -> str:
    """Return what a user agent becomes."""
    if action == "keep" or not text.strip():
        return text
    return "" if action == "drop" else mask_agent(text)


def protect_recording(text: str, action: Action) -> str:
    """Return what a recording's address becomes: masked, it says that there is one, and at whom."""
    if action == "keep" or not text.strip():
        return text
    if action == "drop":
        return ""
    try:
        parts = urlsplit(text.strip())
        host = parts.hostname or ""
    except ValueError:
        return "***"
    return f"{parts.scheme}://{host}/***" if parts.scheme and host else "***"


def replace_places(text: str, places: list[Place], replace: Callable[[str], str]) -> str:
    """Return a text in which each place's content is replaced; places may overlap."""
    done, end = [], 0
    for place in sorted(places, key=lambda one: (one.start, -one.end)):
        if place.start >= end:
            done += [text[end : place.start], replace(text[place.start : place.end])]
            end = place.end
    return "".join((*done, text[end:]))
