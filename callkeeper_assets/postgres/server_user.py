"""The operating system's user that the embedded PostgreSQL runs as.

PostgreSQL refuses to run as root. So root's server runs as an unprivileged user; everybody else's
runs as themselves. Here: choosing that user, running commands as it, asking what it may enter.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from callkeeper_assets.postgres.errors import DatabaseError

# The caller's PG* variables would redirect the server's own programs, its locale would decide
# messages that are searched here.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}


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
        "PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor "
        "'nobody' to run it as. Add one (useradd --system postgres), or set "
        "CALLKEEPER_DATABASE_URL."
    )


def choose_account(data: Path) -> ServerUser | None:
    """Choose who runs the server of the folder `data`; None is this process's own user.

    Raises:
        DatabaseError: the folder belongs to a user that this process cannot run the server as.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner in {None, os.geteuid()}:
            return None
        raise DatabaseError(
            f"The embedded database in {data} belongs to the user {_name_of(owner or 0)}, and only "
            f"its owner or root can run it. Run as that user, or set CALLKEEPER_HOME to a folder "
            f"of your own, or CALLKEEPER_DATABASE_URL."
        )
    if owner is None:
        return _unprivileged_account()
    if owner == 0:
        raise DatabaseError(
            f"The embedded database in {data} belongs to root, as which PostgreSQL does not run. "
            f"Give it to its user again: chown -R {_unprivileged_account().name} {data}"
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
        who = f"as the user {account.name}" if account else "as this user"
        raise DatabaseError(
            f"The embedded PostgreSQL could not be run {who}: {error}. "
            f"Run as an ordinary user, or set CALLKEEPER_DATABASE_URL."
        ) from error


def can_enter(account: ServerUser | None, path: Path) -> bool:
    """Ask the kernel whether `account` may enter the folder, or execute the file, at `path`."""
    return run_as(account, ["test", "-x", path]).returncode == 0
