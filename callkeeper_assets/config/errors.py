"""What can be wrong with a source's configuration, grouped by what to do about it.

`InvalidSourceError` and `MissingFolderError`: correct a file or a variable, then load again.
`MissingSecretError`: set a variable in the environment; the configuration itself is right. No
message ever holds a secret's value.
"""

from pathlib import Path


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
    """The environment variable that holds a source's key is not set, or is empty."""

    def __init__(self, *, source: str, variable: str, file: Path) -> None:
        super().__init__(
            f"Source '{source}' has no API key: the environment variable {variable}, which api_key "
            f"names in {file}, is not set. Set {variable} to the account's API key where Dagster "
            "is started, or in the file .env beside pyproject.toml, and start again."
        )
        self.source = source
        self.variable = variable
        self.file = file
