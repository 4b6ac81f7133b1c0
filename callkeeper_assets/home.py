"""Where an installation keeps what it writes, and the environment variables that move it.

Every path that is the user's to choose is asked for here. Nothing is created here: who writes a
folder makes it. Knows nothing of Dagster or SQL, and is imported by the command line: stays light.
"""

import os
from pathlib import Path


def project_root() -> Path:
    """Return the folder of `pyproject.toml`; the working folder where the package is not in one."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def home() -> Path:
    """Return `CALLKEEPER_HOME`, absolute; `.callkeeper` in the project's root when unset.

    A relative value counts from the project's root: the processes of one installation do not all
    share a working folder, and must find one home.
    """
    value = os.environ.get("CALLKEEPER_HOME") or ".callkeeper"
    return project_root() / Path(value).expanduser()


def raw_url() -> str:
    """Return where raw calls lie, a folder or an fsspec URL; `raw` in the home when unset."""
    return os.environ.get("CALLKEEPER_RAW_URL") or str(home() / "raw")


def configured_database_url() -> str | None:
    """Return `CALLKEEPER_DATABASE_URL` as the user wrote it, None when it is unset or empty."""
    return os.environ.get("CALLKEEPER_DATABASE_URL") or None


def configured_webhook_url() -> str | None:
    """Return `CALLKEEPER_WEBHOOK_URL`, where the receiver is seen from outside; None when unset."""
    value = os.environ.get("CALLKEEPER_WEBHOOK_URL") or ""
    return value.strip().rstrip("/") or None


def set_dagster_home() -> Path:
    """Set `DAGSTER_HOME` for this process and its children to the project's root, unless it is set.

    Returns:
        The folder in force, where Dagster looks for `dagster.yaml`.
    """
    return Path(os.environ.setdefault("DAGSTER_HOME", str(project_root())))
