"""Which APIs CallKeeper has and where, what the client hands out, what can go wrong with a source.

No more than names, records and errors, these by what to do about them: the configuration imports
them, and must not import a client.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit

ApiName = Literal["callkeeper", "ckct"]
# With api ckct: the key's own calls, those that its role may see, or those with roles named.
CallRole = Literal["own", "by_role", "with_role"]

BASE_URLS: Final[Mapping[ApiName, str]] = {
    "callkeeper": "https://api.callkeeper.ru",
    "ckct": "https://ckct.ru/api/",
}
# An answer of so many calls or more is checked once: a source may cut large ones without a word.
CHECK_ANSWERS_FROM: Final = 500
_FOLDER: Final = "/api"
_PROGRAM: Final = "/index.php"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What the source says of the account; `paid_till` is None where it does not say."""

    paid_till: datetime | None


class CallKeeperError(Exception):
    """The source could not be read; the subclass says whether asking again helps."""


class AbortError(CallKeeperError):
    """Permanent: the key, the host, the method or the address is refused. Do not ask again."""


class RetryLaterError(CallKeeperError):
    """Transient: the source did not answer properly in time, retries included. Ask again later."""


class UnusableAnswerError(CallKeeperError):
    """The source answered with something that cannot be used: a human has to look at it."""


def strip_address(base_url: str) -> str:
    """Return an address as its owner may have written it without what it may end in: `/`, `?`."""
    return base_url.strip().rstrip("/?")


def list_addresses(api: ApiName, base_url: str) -> tuple[str, ...]:
    """Return where an API can be at a base URL, in the order in which to try.

    The documents of the unified API have two addresses for it, and which of them answers is not
    known: the one that is written comes first. A query may be put behind each as it stands: the
    slash of a folder is kept, without which a server sends a redirect.
    """
    bare = strip_address(base_url)
    if api == "callkeeper":
        return (bare,)
    if bare.endswith(_PROGRAM):
        return bare, bare.removesuffix(_PROGRAM) + "/"
    parts = urlsplit(bare)
    folder = bare if parts.path.endswith(_FOLDER) else f"{parts.scheme}://{parts.netloc}{_FOLDER}"
    return tuple(dict.fromkeys((bare + "/", folder + "/", folder + _PROGRAM)))


def find_other_api(api: ApiName, base_url: str) -> tuple[ApiName, str]:
    """Return the other API and its address: CallKeeper's own, or at the host of one that is not."""
    other: ApiName = "callkeeper" if api == "ckct" else "ckct"
    if urlsplit(base_url).netloc == urlsplit(BASE_URLS[api]).netloc:
        return other, BASE_URLS[other]
    bare = strip_address(base_url)
    if other == "ckct":
        return other, f"{bare}{_FOLDER}/"
    return other, bare.removesuffix(_PROGRAM).removesuffix(_FOLDER)
