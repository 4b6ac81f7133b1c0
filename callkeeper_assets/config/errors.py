"""What can be wrong with a source's configuration, grouped by what to do about it.

`InvalidSourceError` and `MissingFolderError`: correct a file or a variable, then load again.
`MissingSecretError`: set a variable in the environment; the configuration itself is right. No
message ever holds a secret's value.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

SecretAttribute = Literal["api_key", "webhook.token", "privacy.key"]

_MAKING_ONE: Final = "`python -c 'import secrets; print(secrets.token_urlsafe(24))'`"
_SECRETS: Final[Mapping[SecretAttribute, tuple[str, str]]] = {
    "api_key": ("API key", "the account's API key"),
    "webhook.token": ("webhook token", f"a long random text, such as {_MAKING_ONE} prints,"),
    "privacy.key": (
        "key for hashing phone numbers",
        f"the key of its hashes, or for a new source a long random text, as {_MAKING_ONE} prints,",
    ),
}


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


class MissingSecretError(ConfigError):
    """The environment variable that holds a source's secret is not set, or is empty.

    Args:
        source: The source's name.
        attribute: The one that names the variable.
        variable: The environment variable.
        file: The source's `defs.yaml`.
    """

    def __init__(
        self, *, source: str, attribute: SecretAttribute, variable: str, file: Path
    ) -> None:
        what, value = _SECRETS[attribute]
        super().__init__(
            f"Source '{source}' has no {what}: the environment variable {variable}, which "
            f"{attribute} names in {file}, is not set. Set {variable} to {value} where Dagster "
            "is started, or in the file .env beside pyproject.toml, and start again."
        )
        self.source = source
        self.variable = variable
        self.file = file
