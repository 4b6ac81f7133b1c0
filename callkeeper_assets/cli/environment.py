"""The environment of a command and of the processes it starts.

`.env` beside `pyproject.toml` is read as `dg` reads it; a variable that is set already stays as it
is, so that a command line can override the file.
"""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from callkeeper_assets.home import project_root, set_dagster_home


def load_env_file(folder: Path) -> None:
    """Set the variables of `folder`'s `.env` that are not set."""
    file = folder / ".env"
    if file.is_file():
        from dotenv import load_dotenv  # noqa: PLC0415 -- most installations have no such file

        load_dotenv(file, override=False)


def prepare_environment() -> None:
    """Set what every command and its children go by."""
    load_env_file(project_root())
    set_dagster_home()


def build_child_environment() -> dict[str, str]:
    """Return the environment of a process that runs Dagster."""
    # A run over many days writes many events; Dagster then sends them in batches.
    return {"DAGSTER_EVENT_BATCH_SIZE": "1000", **os.environ}


def read_version() -> str:
    """Return the installed version; `unknown` where the package runs from a bare checkout."""
    try:
        return version("callkeeper-assets")
    except PackageNotFoundError:
        return "unknown"
