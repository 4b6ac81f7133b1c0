"""Which APIs CallKeeper has, where each is, and whose calls can be asked for: names alone.

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
