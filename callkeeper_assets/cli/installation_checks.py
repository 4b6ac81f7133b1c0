"""What `check` looks at once for all sources: Dagster's home, the database, the raw calls."""

import uuid
from pathlib import Path
from typing import Final

from callkeeper_assets.cli.findings import Finding, State
from callkeeper_assets.database.errors import DatabaseError
from callkeeper_assets.database.settings import find_differing
from callkeeper_assets.database.url import (
    check_writable,
    connect,
    database_url,
    describe,
    is_embedded,
)
from callkeeper_assets.file_locks import find_lock_problem
from callkeeper_assets.home import home, project_root, raw_url, set_dagster_home
from callkeeper_assets.zone_rules import list_rules

SUBJECT: Final = "installation"


def _find(what: str, state: State, text: str) -> Finding:
    return Finding(SUBJECT, what, state, text)


def check_dagster_home() -> Finding:
    """Look for `dagster.yaml` where Dagster will look."""
    file = set_dagster_home() / "dagster.yaml"
    if file.is_file():
        return _find("dagster", "good", str(file))
    return _find(
        "dagster",
        "bad",
        f"There is no {file}: Dagster would keep its runs elsewhere. Copy dagster.yaml from the "
        f"project there, or unset DAGSTER_HOME (it is {project_root()} then).",
    )


def check_home() -> Finding:
    """Try a file lock where processes keep themselves apart by some."""
    problem = find_lock_problem(home())
    return _find("home", "bad" if problem else "good", problem or f"{home()}, file locks work")


def check_zone_rules() -> Finding:
    """Say by which rules of time zones days begin here, and what else is installed."""
    first, *others = list_rules()
    text = f"rules of {first}"
    if others:
        text += f"; not used: {'; '.join(map(str, others))}"
    return _find("time zones", "good", text)


def check_database() -> list[Finding]:
    """Reach the database; start the embedded one if it is the one in use and exists."""
    if is_embedded() and not (home() / "postgres").exists():
        text = f"embedded, in {home() / 'postgres'}; the first load makes it"
        return [_find("database", "good", text)]
    try:
        url = database_url()
        with connect(url, autocommit=True) as connection:
            check_writable(connection)
            differing = find_differing(connection)
            user = connection.info.user
            version = connection.info.parameter_status("server_version") or "?"
            from callkeeper_assets.warehouse.errors import SchemaError  # noqa: PLC0415
            from callkeeper_assets.warehouse.migrate import (  # noqa: PLC0415
                HEAD,
                VERSION_TABLE,
                check_not_elsewhere,
            )

            row = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
            revision, tables = None, None
            if row and row[0]:
                found = connection.execute(
                    f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 -- a constant
                ).fetchone()
                revision = str(found[0]) if found else None
            else:
                try:
                    check_not_elsewhere(connection, url)
                except SchemaError as error:
                    tables = _find("tables", "bad", str(error))
    except DatabaseError as error:
        return [_find("database", "bad", str(error))]
    kind = "embedded" if is_embedded() else "yours"
    number = version.partition(" ")[0]
    return [
        _find("database", "good", f"{describe(url)} (PostgreSQL {number}, {kind})"),
        *([_judge_settings(differing, user)] if differing else []),
        tables or _judge_schema(revision, HEAD),
    ]


def _judge_settings(differing: dict[str, str], user: str) -> Finding:
    named = ", ".join(f"{name} = {value}" for name, value in differing.items())
    resets = " ".join(f"ALTER ROLE {user} RESET {name};" for name in differing)
    return _find(
        "settings",
        "bad",
        f"not as loads need it, although each connection asks for it: {named}. A pooler that "
        f"ignores `options`, or a trigger on login, does that: name the server itself in "
        f"CALLKEEPER_DATABASE_URL, and have the trigger leave {user} alone. Of a role's own "
        f"settings: {resets}",
    )


def _judge_schema(revision: str | None, head: str) -> Finding:
    if revision is None:
        return _find("tables", "good", "none yet; the first load makes them")
    if revision == head:
        return _find("tables", "good", f"schema {revision}, up to date")
    if revision < head:
        return _find("tables", "good", f"schema {revision}; the next load brings it to {head}")
    return _find(
        "tables",
        "bad",
        f"schema {revision} is newer than this program, which knows up to {head}. "
        "Update the program.",
    )


def check_raw_store() -> Finding:
    """Write a small file to the raw calls' place, and remove it."""
    import fsspec  # noqa: PLC0415

    url = raw_url()
    remedy = "Check CALLKEEPER_RAW_URL: permissions, free space, credentials"
    try:
        files, root = fsspec.core.url_to_fs(url)
        probe = f"{root}/.callkeeper-check-{uuid.uuid4().hex}"
        if "file" in files.protocol:
            Path(root).mkdir(parents=True, exist_ok=True)
        files.pipe_file(probe, b"")
        files.rm_file(probe)
    except ImportError as error:
        return _find("raw calls", "bad", f"{url}: {error}. pip install 'callkeeper-assets[s3]'")
    except Exception as error:  # noqa: BLE001 -- file systems share no class; the text is shown
        return _find("raw calls", "bad", f"{url} cannot be written: {error}. {remedy}.")
    return _find("raw calls", "good", f"{url}, can be written")
