"""The documented failures of the API: status and reason of each.

The reasons are the vendor's own words, but for the 417s, of which only the occasion is documented.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Failure:
    """A failure as the documents name it."""

    status: int
    reason: str


class RequestFailedError(Exception):
    """A request fails in a documented way."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


UNAUTHORIZED_HOST: Final = Failure(401, "Unauthorized host!")
WRONG_KEY: Final = Failure(403, "Not the correct key api")
MISMATCHED: Final = Failure(404, "Mismatched request!")
UNKNOWN_METHOD: Final = Failure(405, "Unknown request method!")
WRONG_TYPE: Final = Failure(406, "Wrong data type!")
DATE_NOT_ARRAY: Final = Failure(406, "Date is not array")
TOO_FEW_VALUES: Final = Failure(409, "Not enough values")
UNKNOWN_USER: Final = Failure(412, "Unknown user")
KEY_LENGTH: Final = Failure(417, "Wrong length of the key")
KEY_NOT_HEX: Final = Failure(417, "The key is not hexadecimal")
NO_ROWS: Final = "No rows found"


def key_not_defined(name: str) -> Failure:
    """A parameter that every call of the method needs is not there at all."""
    return Failure(400, f"Key '{name}' is not defined!")
