"""What a source wants of its personal data, and what becomes of a single value by it.

A rule names, for each kind of data, `keep`, `mask`, `hash` or `drop`. User agents are masked to
browser and system.
"""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import urlsplit

from callkeeper_assets.privacy.fields import (
    MOST_SHOWN,
    Piece,
    hide_field,
    join_field,
    read_field,
    replace_in_field,
)
from callkeeper_assets.privacy.numbers import NumberSpan, find_addresses, fold, mask_address

# In this order: a browser names those that it wants to be taken for as well.
_BROWSERS: Final = (
    ("Bot", ("bot", "spider", "crawler")),
    ("Yandex Browser", ("yabrowser", "yandex browser")),
    ("Edge", ("edg/", "edga/", "edgios/", "edge")),
    ("Opera", ("opr/", "opera")),
    ("Samsung Internet", ("samsungbrowser", "samsung internet")),
    ("Firefox", ("firefox", "fxios")),
    ("Chrome", ("chrome", "crios", "chromium")),
    ("Safari", ("safari",)),
)
_SYSTEMS: Final = (
    ("Android", ("android",)),
    ("iOS", ("iphone", "ipad", "ipod", " ios")),
    ("Windows", ("windows",)),
    ("macOS", ("mac os", "macintosh", "macos")),
    ("Linux", ("linux", "x11")),
)
_OTHER: Final = "other"

PhoneAction = Literal["keep", "mask", "hash"]
Action = Literal["keep", "mask", "drop"]

_HIDDEN: Final = "*"
_HIDDEN_DIGITS: Final = 4
_TOKEN_PREFIX: Final = "tel_"  # noqa: S105 -- of hashed numbers
_TOKEN_LETTERS: Final = 20
# Letters alone: no token can be taken for a number, nor a number be seen in one.
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def _find(text: str, names: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    return next((name for name, words in names if any(one in text for one in words)), _OTHER)


def mask_agent(text: str) -> str:
    """Return `browser, system`; what is masked already stays as it is."""
    lower = text.lower()
    return f"{_find(lower, _BROWSERS)}, {_find(lower, _SYSTEMS)}"


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
        """The rule as text, without the key, but with what distinguishes one key from another."""
        names = ("phones", "manager_phones", "ips", "user_agents", "recordings")
        parts = [f"{name}: {getattr(self, name)}" for name in names]
        if self.hashes:
            parts.append(f"key: {hash_number('0', self.key).removeprefix(_TOKEN_PREFIX)[:6]}")
        return ", ".join(parts)


KEEP_ALL: Final = Rule()


# A call of the unified API names its client twice.
@lru_cache(maxsize=1024)
def hash_number(number: str, key: bytes) -> str:
    """Return the token that stands for a number, as `normalise_number` returns it."""
    mac = _start_mac(key).copy()
    mac.update(number.encode())
    return _TOKEN_PREFIX + mac.hexdigest()[:_TOKEN_LETTERS].translate(_LETTERS)


# A load hashes each call's number: beginning anew with the key would take half of that.
@lru_cache(maxsize=64)
def _start_mac(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def is_masked(text: str) -> bool:
    """Whether a field's value is what masking makes of a number."""
    return _HIDDEN in text and read_field(text).is_hidden


def mask_number(text: str) -> str:
    """Return a number's own writing with its last four digits hidden.

    Of a number longer than any country's more of them are: what is left is known as masked again.
    """
    view = fold(text)
    places = [at for at, one in enumerate(view.text) if "0" <= one <= "9"]
    hidden = max(_HIDDEN_DIGITS, len(places) - MOST_SHOWN)
    done, end = [], 0
    for start, behind in (view.locate(at, at + 1) for at in places[-hidden:]):
        done += [text[end:start], _HIDDEN]
        end = behind
    return "".join((*done, text[end:]))


def protect_number(
    text: str,
    action: PhoneAction,
    key: bytes,
    *,
    is_client: bool = False,
    choose: Callable[[Piece], PhoneAction] | None = None,
) -> str:
    """Return what a phone field's value becomes.

    A text that says that there is no number, such as `anonymous`, stays; what cannot be read is
    hidden whole. A hashed client has no extension: calls of one client have one value.

    Args:
        text: The value.
        action: For the field.
        key: For hashing.
        is_client: Whether it is a client's.
        choose: What becomes of each number, where that is not the field's action.
    """
    phones = read_field(text)
    actions = {choose(one) if choose else action for one in phones.pieces if one.part == "number"}
    if not phones.pieces or not phones.is_read:
        return hide_field(phones) if action != "keep" else text
    if actions <= {"keep"}:
        return text

    def replace(piece: Piece, written: str) -> str:
        one = choose(piece) if choose else action
        if one == "hash":
            return hash_number(piece.readings[0], key)
        return mask_number(written) if one == "mask" else written

    if phones.is_plain and not (is_client and "hash" in actions):
        return replace_in_field(phones, replace)
    return join_field(phones, replace, keeps_extensions=not (is_client and "hash" in actions))


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
    masked = ((one, mask_address(text[one.start : one.end]) or "") for one in places)
    return replace_places(text, masked) if places else ""


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


def replace_places(text: str, places: Iterable[tuple[NumberSpan, str]]) -> str:
    """Return a text with something else in each place; of two that overlap, the first counts.

    What the second has beyond the first goes as well.
    """
    done, end = [], 0
    for place, content in sorted(places, key=lambda one: (one[0].start, -one[0].end)):
        if place.start >= end:
            done += [text[end : place.start], content]
        end = max(end, place.end)
    return "".join((*done, text[end:]))
