"""What can go wrong with a source, grouped by what the caller should do about it.

Every message names the source, what was asked, what came back and what to do, and holds neither an
API key nor a phone number. Instances carry no cause or context: those could hold the asked URL.
"""


class CallKeeperError(Exception):
    """The source could not be read; the subclass says whether asking again helps."""


class AbortError(CallKeeperError):
    """Permanent: the key, the host, the method or the address is refused. Do not ask again."""


class RetryLaterError(CallKeeperError):
    """Transient: the source did not answer properly in time, retries included. Ask again later."""


class BadDataError(CallKeeperError):
    """The source answered with something that cannot be used: a human has to look at it."""
