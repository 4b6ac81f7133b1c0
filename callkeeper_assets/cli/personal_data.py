"""What `forget`, `export` and `protect` share: the number that was typed, and the sources."""

import json
import os
from pathlib import Path

from callkeeper_assets.cli.exits import UsageProblemError
from callkeeper_assets.cli.selection import describe_broken
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.privacy.numbers import SHORTEST_SOUGHT, normalise

_LONGEST = 15


def read_number(typed: str) -> str:
    """Return the number that was typed, in the one form of all its writings.

    Raises:
        UsageProblemError: It is no phone number.
    """
    number = normalise(typed)
    if not SHORTEST_SOUGHT <= len(number) <= _LONGEST:
        raise UsageProblemError(
            f"A phone number has {SHORTEST_SOUGHT} to {_LONGEST} digits, this one has "
            f"{len(number)}. Write it with its country's code, +7 916 …; spaces need quotes."
        )
    return number


def choose_all_sources() -> list[Source]:
    """Return all sources: a client is looked for in all of them, or the answer is wrong.

    Raises:
        UsageProblemError: The configuration of one is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, broken = load_sources()
    if broken:
        raise UsageProblemError(
            "\n".join(describe_broken(source) for source in broken)
            + "\nA client is looked for in all sources: correct this one first."
        )
    return sources


def write_private_file(name: str, document: object) -> None:
    """Write a document as JSON into a new file that only its owner may read.

    Raises:
        UsageProblemError: It is there already, or cannot be written.
    """
    file = Path(name)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageProblemError(f"{file} is there already: name another one.") from None
    except OSError as error:
        raise UsageProblemError(f"{file} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        json.dump(document, written, ensure_ascii=False, indent=2, default=str)
        written.write("\n")
