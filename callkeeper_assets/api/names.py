"""Which APIs CallKeeper has, where each is, and whose calls can be asked for: no more than names.

For the configuration, which must not import a client.
"""

from collections.abc import Mapping
from typing import Final, Literal

ApiName = Literal["callkeeper", "ckct"]
# With api ckct: the key's own calls, those that its role may see, or those with roles named.
Role = Literal["own", "by_role", "with_role"]

BASE_URLS: Final[Mapping[ApiName, str]] = {
    "callkeeper": "https://api.callkeeper.ru",
    "ckct": "https://ckct.ru/api/index.php",
}
_UNIFIED_PATH: Final = "/api/index.php"


def find_other_api(api: ApiName, base_url: str) -> tuple[ApiName, str]:
    """Return the other API and its address: CallKeeper's own, or at the host of one that is not."""
    other: ApiName = "callkeeper" if api == "ckct" else "ckct"
    if base_url == BASE_URLS[api]:
        return other, BASE_URLS[other]
    if other == "ckct":
        return other, base_url + _UNIFIED_PATH
    return other, base_url.removesuffix(_UNIFIED_PATH)
