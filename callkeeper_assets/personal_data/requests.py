"""What a person asked for: its name, and the number, which is handed over and never written.

A request's name stands where a run's id stands, and sorts by time. The number comes to the process
that does the work by its standard input, or, for runs that Dagster starts, in a file that a person
puts into the home: no run's configuration, tag or log ever has it.
"""

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.home import home
from callkeeper_assets.language import tr
from callkeeper_assets.privacy.numbers import SHORTEST_SOUGHT, find_sure, normalise_number
from callkeeper_assets.privacy.tails import spell_digits

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,99}")
_LONGEST: Final = 15
_LONGEST_REFERENCE: Final = 200
_OTHERS_RIGHTS: Final = 0o077

_handed_over: dict[str, str] = {}


def name_request(what: str) -> str:
    """Return a new name, such as `forget-20260131T120000-3f09a1`."""
    return f"{what}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def check_number(typed: str) -> str:
    """Return a number that somebody typed, in the one form of all its writings.

    Raises:
        ConfigError: It is no phone number.
    """
    number = normalise_number(typed)
    if not SHORTEST_SOUGHT <= len(number) <= _LONGEST:
        raise ConfigError(
            tr(
                "A phone number has {shortest} to {longest} digits, this one has {count}. Write "
                "it with its country's code, +7 916 …; spaces need quotes.",
                shortest=SHORTEST_SOUGHT,
                longest=_LONGEST,
                count=len(number),
            )
        )
    return number


def check_reference(reference: str, number: str) -> str:
    """Return on whose word a client is forgotten, as it may be kept.

    Raises:
        ConfigError: It is long, of several lines, or has a phone number in it.
    """
    text = reference.strip()
    if len(text) > _LONGEST_REFERENCE or not text.isprintable():
        raise ConfigError(
            tr("A reference is one line of up to {longest} letters.", longest=_LONGEST_REFERENCE)
        )
    is_this_one = bool(number) and number[-SHORTEST_SOUGHT:] in spell_digits(text)
    if is_this_one or any(find_sure(text, also_bare=True)):
        raise ConfigError(
            tr(
                "The reference has a phone number in it, and is kept for ever. Name the request "
                "by its own number and date: --reference 'request 17 of 2026-11-20'."
            )
        )
    return text


def hand_over(request_id: str, number: str) -> None:
    """Give the number of a request to this process's runs."""
    _handed_over[request_id] = number


def take_number(request_id: str) -> str | None:
    """Return the number of a request; None if nobody handed it over.

    Raises:
        ConfigError: The name cannot be a request's; or others may read the file, or what it has is
            no number.
    """
    if not _NAME.fullmatch(request_id) or len(spell_digits(request_id)) > 2 * _LONGEST:
        raise ConfigError(
            tr(
                "A request's name has letters, digits, points, hyphens and underscores, such as "
                "request-17: no phone number."
            )
        )
    if request_id in _handed_over:
        return _handed_over[request_id]
    file = _find_file(request_id)
    try:
        is_open = file.stat().st_mode & _OTHERS_RIGHTS
        typed = file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            tr(
                "{file} cannot be read: {error}. It is one line, the number.",
                file=file,
                error=error,
            )
        ) from None
    if is_open:
        raise ConfigError(
            tr("Others than its owner may read {file}: chmod 600 {file}, then again.", file=file)
        )
    return check_number(typed)


def drop_number(request_id: str) -> None:
    """Remove what was handed over: the request is done."""
    _handed_over.pop(request_id, None)
    _find_file(request_id).unlink(missing_ok=True)


def _find_file(request_id: str) -> Path:
    return home() / "requests" / request_id
