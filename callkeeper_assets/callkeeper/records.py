"""What the client hands out, and what can go wrong with a source, by what to do about it."""

from dataclasses import dataclass
from datetime import datetime


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
