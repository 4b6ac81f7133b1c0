"""What can be wrong with a source's configuration: where, why, and what to do about it.

And the few forms of words that texts of all features above share.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from callkeeper_assets.language import look_up, mark, tr, tr_count

SecretAttribute = Literal["api_key", "webhook.token", "privacy.key"]

_MAKING_ONE: Final = "`python -c 'import secrets; print(secrets.token_urlsafe(24))'`"
_SECRETS: Final[Mapping[SecretAttribute, tuple[str, str]]] = {
    "api_key": (mark("API key"), mark("the account's API key")),
    "webhook.token": (
        mark("webhook token"),
        mark("a long random text, such as {command} prints,"),
    ),
    "privacy.key": (
        mark("key for hashing phone numbers"),
        mark("the key of its hashes, or for a new source a long random text, as {command} prints,"),
    ),
}

Location: TypeAlias = tuple[str | int, ...]


class ConfigError(Exception):
    """A configuration that cannot be used until somebody changes it."""


class InvalidSourceError(ConfigError):
    """A `defs.yaml` that is refused; its text has one line for each mistake.

    Args:
        name: The source's folder.
        file: The refused `defs.yaml`.
        problems: At least one, each `<file>:<line>: <attribute>: <what is wrong>`.
    """

    def __init__(self, *, name: str, file: Path, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.name = name
        self.file = file
        self.problems = problems


class MissingFolderError(ConfigError):
    """The folder that should hold the sources' folders does not exist."""


class NoProjectError(MissingFolderError):
    """There is no project here, and `CALLKEEPER_DEFS` names no sources."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            tr(
                "{folder} is no project of callkeeper's, nor is a folder above it. Make one: "
                "`callkeeper init` in an empty folder, or `callkeeper init FOLDER`. If you have "
                "one, type the command in it, or name it: `callkeeper --project FOLDER …`.",
                folder=folder,
            )
        )


class MissingSecretError(ConfigError):
    """The environment variable that holds a source's secret is not set, or is empty.

    Args:
        source: The source's name.
        attribute: The one that names the variable.
        variable: The environment variable.
        file: The source's `defs.yaml`.
        unreadable: Why it cannot be had from the file that it is said to be in.
    """

    def __init__(
        self,
        *,
        source: str,
        attribute: SecretAttribute,
        variable: str,
        file: Path,
        unreadable: str = "",
    ) -> None:
        name, way = _SECRETS[attribute]
        what, value = look_up(name), tr(way, command=_MAKING_ONE)
        super().__init__(
            tr(
                "Source '{source}' has no {what}: {unreadable}",
                source=source,
                what=what,
                unreadable=unreadable,
            )
            if unreadable
            else tr(
                "Source '{source}' has no {what}: the environment variable {variable}, which "
                "{attribute} names in {file}, is not set. Set {variable} to {value} where Dagster "
                "is started, or in the file .env beside pyproject.toml, and start again.",
                source=source,
                what=what,
                variable=variable,
                attribute=attribute,
                file=file,
                value=value,
            )
        )
        self.source = source
        self.variable = variable
        self.file = file


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        location: Keys and indexes from the file's root; empty for the file as a whole.
        text: What is wrong, whole sentences.
    """

    location: Location
    text: str

    def describe(self) -> str:
        """The attribute as users write it, `tables[2]` or `refresh.cron`, and the text."""
        is_attribute = len(self.location) > 1 and self.location[0] == "attributes"
        location = self.location[1:] if is_attribute else self.location
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
        return f"{path.lstrip('.')}: {self.text}" if path else self.text


def suggest_name(given: str, names: Iterable[str]) -> str:
    """Ask whether the nearest of the names was meant; empty if none is near."""
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return tr(" Did you mean '{name}'?", name=by_lower[close[0]]) if close else ""


def say_count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 day`, `2,000 days`."""
    one = "{number:,} " + noun
    return tr_count(one, one + "s", number)


def list_some(items: Sequence[object], most: int) -> str:
    """List items, so many at the most, and say how many more there are."""
    more = tr(" and {count} more", count=len(items) - most) if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def capitalise(text: str) -> str:
    """Return a sentence as one of its own."""
    return text[:1].upper() + text[1:]


def describe_unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Say that there is no such `what`, the nearest name that exists, and all that exist."""
    names = sorted(allowed)
    return tr(
        "there is no {what} '{given}'.{suggestion} Allowed: {names}.",
        what=look_up(what),
        given=given,
        suggestion=suggest_name(given, names),
        names=", ".join(names),
    )
