"""The one place where API keys and phone numbers are taken out of text.

`redact` is for anything that the source, requests or urllib3 wrote; `RedactingFilter` is the same
for log records (urllib3 logs every URL, and the key is in it). Secrets of unusual form are
registered once, where they are read from the configuration.
"""

import logging
import re
import threading
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, quote_plus

from callkeeper_assets.privacy.numbers import hide_numbers

MASK: Final = "***"
SHORTEST_SECRET: Final = 4  # masking shorter ones would tear every text apart

# The value of api_key in a query, a twice encoded query, JSON or a Python dict, quoted or not; not
# the words after a variable's name in a sentence of ours ("in MAIN_API_KEY: the source does not").
_KEY_PARAMETER: Final = re.compile(
    r"""(api_?key (?: = | %(?:25)*3D | \\?["']? \s* [:=] \s* (?:\\?["'])? ))
        (?! (?<=:\ ) the\ source\b )
        (?: (?!%(?:25)*26) [^&\s"'<>\\,;)}\]] )+""",
    re.IGNORECASE | re.VERBOSE,
)
_HEX_KEY: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])")
_lock = threading.Lock()
_secrets: set[str] = set()
_secret_pattern: re.Pattern[str] | None = None


def register_secret(secret: str) -> None:
    """Have `redact` mask this text too, in whatever case and URL encoding it appears.

    Secrets are kept for the life of the process. One of less than four characters is ignored.
    """
    global _secret_pattern  # noqa: PLW0603 - compiled once a secret, not once a text
    if len(secret) < SHORTEST_SECRET:
        return
    with _lock:
        _secrets.update((secret, quote(secret, safe=""), quote_plus(secret)))
        longest_first = sorted(_secrets, key=len, reverse=True)
        _secret_pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def redact(text: str, call_ids: Collection[int] = ()) -> str:
    """Return the text with keys, registered secrets and phone numbers masked.

    Masks too much rather than too little: any number of 10 to 15 digits counts as a phone number.

    Args:
        text: The text.
        call_ids: What the text is known to name: it stays, though it has a number's length.
    """
    if call_ids:
        named = re.compile(rf"(?<![0-9])({'|'.join(map(str, call_ids))})(?![0-9])")
        # Every other part is an id.
        parts = named.split(text)
        return "".join(part if at % 2 else redact(part) for at, part in enumerate(parts))
    if _secret_pattern is not None:
        text = _secret_pattern.sub(MASK, text)
    text = _KEY_PARAMETER.sub(rf"\1{MASK}", text)
    text = _HEX_KEY.sub(MASK, text)
    return hide_numbers(text, MASK)


def excerpt(text: str, length: int = 200, call_ids: Collection[int] = ()) -> str:
    """Return the redacted text on one line, no longer than `length` characters.

    Redacted before it is cut: half a key at the cut would not be recognised as one.

    Args:
        text: The text.
        length: How many characters are returned at most.
        call_ids: As for `redact`.
    """
    line = " ".join(redact(text, call_ids).split())
    return line if len(line) <= length else line[: length - 1] + "…"


class RedactingFilter(logging.Filter):
    """Redacts a log record's message and traceback; for handlers and for loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
