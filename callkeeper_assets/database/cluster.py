"""The embedded PostgreSQL's data folder: where it lies, what it is made with.

`<home>/postgres` holds `data/` (PostgreSQL's own) and `password`. It is made in one go: until it
is whole it has another name. Where root's server may not enter the home, `<home>/postgres` is a
link to a folder below `/var/lib/callkeeper`.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callkeeper_assets.database.binaries import SYSTEM_FOLDER, Programs, find_programs
from callkeeper_assets.database.errors import DatabaseError
from callkeeper_assets.database.server_user import Account, can_enter, choose_account, run_as

# The database and its owner have one name.
NAME = "callkeeper"

# For two cores and a few gigabytes of memory. Written into postgresql.conf when the folder is made:
# its owner may tune it there, or by ALTER SYSTEM.
SETTINGS: Mapping[str, str] = {
    # A socket's path has room for 107 characters, and BI tools want TCP anyway.
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # A historic load writes much in a short time; checkpoints forced by size would write it all.
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    # A statement or a key's values in the log could be a client's phone.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# Since when `initdb --set` is there, and PostgreSQL's own rules for letters.
_INITDB_SETS: Final = 16
_BUILTIN_LOCALE: Final = 17


@dataclass(frozen=True)
class Cluster:
    """A data folder, ready to be served."""

    folder: Path
    programs: Programs
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server says, since its last start."""
        return self.data / "server.log"

    @property
    def password(self) -> str:
        """The password of the user `callkeeper`.

        Raises:
            DatabaseError: its file is gone.
        """
        file = self.folder / "password"
        if not file.exists():
            raise DatabaseError(
                f"The embedded database's password is missing: {file} is gone. Put the file back, "
                f"or move {self.folder} away to begin with an empty database."
            )
        return file.read_text().strip()


def _is_usable(folder: Path, account: Account | None) -> bool:
    """Make `folder`, and say whether `account` can own data in it."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    if account is None:
        return True
    folder.chmod(0o711)  # whatever the umask is, the server's user passes through
    probe = folder / "probe"
    probe.mkdir(exist_ok=True)
    try:
        os.chown(probe, account.uid, account.gid)
    except OSError:  # a network folder, for one, may not let anybody own anything
        return False
    else:
        return can_enter(account, probe)
    finally:
        probe.rmdir()


def _new_folder(link: Path, account: Account | None) -> Path:
    if _is_usable(link, account):
        return link
    link.rmdir()
    # The path names the folder for people; the random part keeps a home that was deleted and made
    # again from finding the old home's data.
    digest = hashlib.sha256(os.fsencode(link)).hexdigest()[:8]
    SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    SYSTEM_FOLDER.chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=SYSTEM_FOLDER))
    if not _is_usable(folder, account):
        raise DatabaseError(
            f"The embedded PostgreSQL's user {account.name if account else ''} can use neither "
            f"{link} nor {folder}. Set CALLKEEPER_HOME to a folder that it may enter, or "
            f"CALLKEEPER_DATABASE_URL to a PostgreSQL of your own."
        )
    link.symlink_to(folder, target_is_directory=True)
    return folder


def _letter_rules(major: int) -> list[str]:
    """Return what `initdb` of that version is told of letters' order and case.

    PostgreSQL's own rules where it has some: a machine's locales differ, and change with its
    updates. Older versions order by code too, and ask the machine only what a letter's case is.
    """
    if major < _BUILTIN_LOCALE:
        return ["--locale", "C", "--lc-ctype", "C.UTF-8"]
    return ["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]


def _make(cluster: Cluster, settings: Mapping[str, str], *, sync: bool) -> None:
    """Make the data folder, with the empty database in it, under another name; then rename it."""
    making = cluster.folder / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    password_file = making.with_name("password")
    if not password_file.exists():
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
    for_initdb = making.with_name("password.new")
    for_initdb.unlink(missing_ok=True)
    for_initdb.touch(mode=0o600)
    for_initdb.write_text(cluster.password)
    if cluster.account is not None:
        os.chown(making, cluster.account.uid, cluster.account.gid)
        os.chown(for_initdb, cluster.account.uid, cluster.account.gid)
    command: list[str | Path] = [cluster.programs.path("initdb"), "--pgdata", making]
    command += ["--username", NAME, "--pwfile", for_initdb, "--auth", "scram-sha-256"]
    command += ["--encoding", "UTF8", *_letter_rules(cluster.programs.major)]
    command += [] if sync else ["--no-sync"]
    written = cluster.programs.major >= _INITDB_SETS
    for name, value in settings.items() if written else ():
        command += ["--set", f"{name}={value}"]
    made = run_as(cluster.account, command)
    for_initdb.unlink()
    if made.returncode == 0:
        if not written:
            with (making / "postgresql.conf").open("a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        server = cluster.programs.path("postgres")
        single_user: list[str | Path] = [server, "--single", "-D", making, "postgres"]
        made = run_as(cluster.account, single_user, text=f"CREATE DATABASE {NAME};\n")
    if made.returncode != 0:
        raise DatabaseError(
            f"PostgreSQL could not make its data folder in {cluster.folder}: "
            f"{(made.stderr or made.stdout).strip()[-1000:]}"
        )
    making.rename(cluster.data)


def open_cluster(
    home: Path, settings: Mapping[str, str] = SETTINGS, *, sync: bool = True
) -> Cluster:
    """Find the home's data folder; make it when there is none. The caller holds the home's lock.

    Args:
        home: the installation's home; must exist.
        settings: written into `postgresql.conf` when the folder is made.
        sync: whether a new folder survives a power failure; tests need not wait for that.

    Raises:
        DatabaseError: it belongs to somebody else, is of another version, or cannot be made.
    """
    link = home / "postgres"
    if link.is_symlink() and not link.exists():
        raise DatabaseError(
            f"The embedded database is gone: {link} leads to {link.readlink()}, which does not "
            f"exist. Put it back, or delete {link} to begin with an empty database."
        )
    folder = link.resolve()
    account = choose_account(folder / "data")
    if not (folder / "data").exists():
        folder = _new_folder(folder, account)
        programs = find_programs(folder / "data", account)
        cluster = Cluster(folder, programs, account)
        _make(cluster, settings, sync=sync)
        return cluster
    cluster = Cluster(folder, find_programs(folder / "data", account), account)
    if not (cluster.data / "PG_VERSION").exists():
        raise DatabaseError(
            f"{cluster.data} is not PostgreSQL's: it has no PG_VERSION. Move it away, or set "
            f"CALLKEEPER_HOME to another folder."
        )
    if not can_enter(account, cluster.data):
        raise DatabaseError(
            f"The user {account.name if account else ''}, who owns the embedded database in "
            f"{cluster.data}, may not enter that folder any more. Let it pass through the folders "
            f"above, or set CALLKEEPER_HOME to another folder."
        )
    return cluster
