"""The embedded PostgreSQL: its programs, its data folder, and its life on this machine.

Started by the first process that needs it, stopped by the last; processes that are killed leave
nothing that the next one cannot take over.
"""

import atexit
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from callkeeper_assets.home import find_lock_problem, make_folder
from callkeeper_assets.language import tr
from callkeeper_assets.postgres.binaries import (
    SYSTEM_FOLDER,
    Programs,
    ServerUser,
    can_enter,
    choose_account,
    find_programs,
    run_as,
)
from callkeeper_assets.postgres.errors import DatabaseError

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
# Since when there are a setting for the rounds of a password's hash, `initdb --set`, and
# PostgreSQL's own rules for letters.
_SCRAM_ROUNDS: Final = 16
_INITDB_SETS: Final = 16
_BUILTIN_LOCALE: Final = 17

# Recovery after a power failure replays up to max_wal_size; on a slow disk that takes minutes.
_START_TIMEOUT_SEC = 300.0
# A killed server's processes notice it within seconds, unless one is deep in a query.
_ORPHANS_TIMEOUT_SEC = 30.0
_STOP_TIMEOUT_SEC = 60.0
_POLL_SEC = 0.02
_RETRY_SEC = 0.5
# The server's words for: the port was taken in this moment.
_TAKEN = "Address already in use"
# The same; processes of a killed server are about to end; a server whose starter was killed is
# about to show itself.
_PASSING = (_TAKEN, "is still in use", "already exists")
# Below the ports that Linux and macOS give to outgoing connections.
_FIRST_PORT = 15432
_PORTS = 10_000
_PORTS_TRIED = 100


@dataclass(frozen=True)
class Cluster:
    """A data folder, ready to be served."""

    folder: Path
    programs: Programs
    account: ServerUser | None

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
                tr(
                    "The embedded database's password is missing: {file} is gone. Put the file "
                    "back, or move {folder} away to begin with an empty database.",
                    file=file,
                    folder=self.folder,
                )
            )
        return file.read_text().strip()


def _is_usable(folder: Path, account: ServerUser | None) -> bool:
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


def _new_folder(link: Path, account: ServerUser | None) -> Path:
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
            tr(
                "The embedded PostgreSQL's user {user} can use neither {link} nor {folder}. Set "
                "CALLKEEPER_HOME to a folder that it may enter, or CALLKEEPER_DATABASE_URL to a "
                "PostgreSQL of your own.",
                user=account.name if account else "",
                link=link,
                folder=folder,
            )
        )
    link.symlink_to(folder, target_is_directory=True)
    return folder


def make_password(file: Path) -> str:
    """Return what a file holds that its owner alone may read; made up if there is none."""
    if not file.exists() or not file.stat().st_size:
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text().strip()


def _letter_rules(major: int) -> list[str]:
    """Return the options of that version's `initdb` for letters' order and case.

    PostgreSQL's own rules where it has some: a machine's locales differ, and change with its
    updates. Older versions order by code too, and ask the machine only what a letter's case is.
    """
    if major < _BUILTIN_LOCALE:
        return ["--locale", "C", "--lc-ctype", "C.UTF-8"]
    return ["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]


def _simplify_password(cluster: Cluster) -> str:
    """Return the statement after which a connection takes its client a quarter of the time.

    4,096 rounds of hashing keep people's passwords from being guessed. This one is 192 random bits,
    and is asked for a dozen times a run.
    """
    if cluster.programs.major < _SCRAM_ROUNDS:
        return ""
    return f"SET scram_iterations = 1;\nALTER ROLE {NAME} PASSWORD '{cluster.password}';\n"


def _make(cluster: Cluster, settings: Mapping[str, str], *, sync: bool) -> None:
    """Make the data folder, with the empty database in it, under another name; then rename it."""
    making = cluster.folder / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    make_password(making.with_name("password"))
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
        statements = f"CREATE DATABASE {NAME};\n{_simplify_password(cluster)}"
        made = run_as(cluster.account, single_user, text=statements)
    if made.returncode != 0:
        raise DatabaseError(
            tr(
                "PostgreSQL could not make its data folder in {folder}: {said}",
                folder=cluster.folder,
                said=(made.stderr or made.stdout).strip()[-1000:],
            )
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
            tr(
                "The embedded database is gone: {link} leads to {target}, which does not exist. "
                "Put it back, or delete {link} to begin with an empty database.",
                link=link,
                target=link.readlink(),
            )
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
            tr(
                "{data} is not PostgreSQL's: it has no PG_VERSION. Move it away, or set "
                "CALLKEEPER_HOME to another folder.",
                data=cluster.data,
            )
        )
    if not can_enter(account, cluster.data):
        raise DatabaseError(
            tr(
                "The user {user}, who owns the embedded database in {data}, may not enter that "
                "folder any more. Let it pass through the folders above, or set CALLKEEPER_HOME "
                "to another folder.",
                user=account.name if account else "",
                data=cluster.data,
            )
        )
    return cluster


# postmaster.pid: process, data folder, start time, port, socket folder, address, memory, status.
_PID_LINE, _FOLDER_LINE, _PORT_LINE, _STATUS_LINE = 0, 1, 3, 7


@dataclass(frozen=True)
class Postmaster:
    """A running server."""

    pid: int
    port: int
    is_ready: bool


def _read_process(pid: int, file: str, column: str) -> str:
    """Return what the system says of a process, empty if it is gone.

    From `/proc` where there is one: small containers have no ps(1).
    """
    if not Path("/proc/self/stat").exists():
        return run_as(None, ["ps", "-ww", "-o", f"{column}=", "-p", str(pid)]).stdout
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _command_line(pid: int) -> str:
    """Return what a process was started with, a line for each part.

    Empty for one that is gone, and for an instant for one that is just beginning.
    """
    return _read_process(pid, "cmdline", "command").replace("\0", "\n")


def _is_alive(pid: int) -> bool:
    """Whether the process exists, and not only as the record that its parent has yet to read."""
    state = _read_process(pid, "stat", "stat").rpartition(")")[2].strip()
    return state != "" and state[0] not in "ZX"


def _read_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _pid_in(lines: list[str]) -> int:
    """Return the process number, 0 where a crash left none in the file."""
    text = lines[_PID_LINE].strip() if lines else ""
    return int(text) if text.isdigit() else 0


def find_postmaster(data: Path) -> Postmaster | None:
    """Return the server that runs on the folder `data`, None if there is none."""
    lines = _read_lines(data)
    if len(lines) <= _PORT_LINE:
        return None
    served = lines[_FOLDER_LINE]
    # A home that was renamed while its server ran is still served by it; a home that was copied,
    # this file included, is not: there the original still exists.
    if served != str(data) and Path(served).exists():
        return None
    pid = _pid_in(lines)
    started_with = _command_line(pid)
    if f"\n-D\n{served}\n" not in started_with and f" -D {served} " not in started_with:
        return None
    status = lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else ""
    return Postmaster(pid, int(lines[_PORT_LINE]), status == "ready")


def _remove_foreign_pid_file(data: Path) -> None:
    """Remove a `postmaster.pid` that is empty, or whose number another program has by now.

    PostgreSQL cannot tell, and would refuse to start. While no process has the number the file
    stays: PostgreSQL itself then looks whether any of the old server's processes is left.
    """
    pid = _pid_in(_read_lines(data))
    if pid == 0 or _is_alive(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _free_ports(data: Path) -> Iterator[int]:
    """Yield free ports of 127.0.0.1, first the one that this folder always gets if it can."""
    first = zlib.crc32(os.fsencode(data)) % _PORTS
    for step in range(_PORTS_TRIED):
        port = _FIRST_PORT + (first + step) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:].strip() if log.exists() else ""


def _launch(cluster: Cluster, port: int) -> int:
    """Start the server as nobody's child, in a session of its own; return its process number.

    The shell is what makes it nobody's child: this process may live long and would owe the server
    a wait(), and the server must outlive it, Ctrl-C included.
    """
    if cluster.log.exists():
        cluster.log.replace(cluster.log.with_suffix(".log.1"))  # why the last one ended
    server: list[str | Path] = [
        cluster.programs.path("postgres"),
        "-D",
        cluster.data,
        "-p",
        str(port),
    ]
    script = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'
    started = run_as(
        cluster.account, ["/bin/sh", "-c", script, "sh", cluster.log, *server], umask=0o077
    )
    if not started.stdout.strip().isdigit():
        raise DatabaseError(
            tr("The embedded PostgreSQL did not start: {said}", said=started.stderr.strip())
        )
    return int(started.stdout)


def _await_ready(cluster: Cluster, pid: int) -> Postmaster | None:
    """Wait until the server takes connections; None if it gave up, the log says why."""
    deadline = time.monotonic() + _START_TIMEOUT_SEC
    while time.monotonic() < deadline:
        found = find_postmaster(cluster.data)
        if found is not None and found.is_ready and found.pid == pid:
            return found
        if not _is_alive(pid):
            return None
        time.sleep(_POLL_SEC)
    raise DatabaseError(
        tr(
            "The embedded PostgreSQL in {data} was not ready after {seconds:.0f} s. It may still "
            "be recovering; try again. Its log, {log}, ends: {tail}",
            data=cluster.data,
            seconds=_START_TIMEOUT_SEC,
            log=cluster.log,
            tail=_tail(cluster.log),
        )
    )


def start_postmaster(cluster: Cluster) -> Postmaster:
    """Start the server, or wait for the one that is starting; return it when it is ready.

    Raises:
        DatabaseError: it does not start; with the end of its log.
    """
    deadline = time.monotonic() + _ORPHANS_TIMEOUT_SEC
    log = tr("no free port was found in {count} tried", count=_PORTS_TRIED)
    ports = _free_ports(cluster.data)
    port = next(ports, None)
    while port is not None:
        found = find_postmaster(cluster.data)
        if found is None:
            _remove_foreign_pid_file(cluster.data)
        ready = _await_ready(cluster, found.pid if found else _launch(cluster, port))
        if ready is not None:
            return ready
        log = _tail(cluster.log)
        if not any(passing in log for passing in _PASSING) or time.monotonic() > deadline:
            break
        # Only then another one: who used the server that was killed keeps asking at its port.
        if _TAKEN in log:
            port = next(ports, None)
        time.sleep(_RETRY_SEC)
    raise DatabaseError(
        tr(
            "The embedded PostgreSQL in {data} did not start: {log}\nRemedy what it says, or set "
            "CALLKEEPER_DATABASE_URL to a PostgreSQL of your own.",
            data=cluster.data,
            log=log,
        )
    )


def stop_postmaster(data: Path) -> None:
    """Stop the server, if it runs, ending its sessions; return when it is gone.

    Raises:
        DatabaseError: it does not stop.
    """
    found = find_postmaster(data)
    if found is None:
        return
    try:
        os.kill(found.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _STOP_TIMEOUT_SEC
    while _is_alive(found.pid):
        if time.monotonic() > deadline:
            raise DatabaseError(
                tr(
                    "The embedded PostgreSQL in {folder} (process {process}) did not stop within "
                    "{seconds:.0f} s. See {log}.",
                    folder=data,
                    process=found.pid,
                    seconds=_STOP_TIMEOUT_SEC,
                    log=data / "server.log",
                )
            )
        time.sleep(_POLL_SEC)


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `DatabaseError`."""
    try:
        yield
    except PermissionError as error:
        raise DatabaseError(
            tr(
                "The embedded database in {home} is not open to this user: {error}. Run as the "
                "user who made it, or set CALLKEEPER_HOME to a folder of your own, or "
                "CALLKEEPER_DATABASE_URL to a PostgreSQL of your own.",
                home=home,
                error=error,
            )
        ) from error
    except OSError as error:
        raise DatabaseError(
            tr("The embedded database in {home} cannot be used: {error}.", home=home, error=error)
        ) from error


def _refuse_without_locks(home: Path) -> None:
    """Raise where the server's users cannot be counted: one that ends would stop it for all."""
    problem = find_lock_problem(home)
    if problem:
        raise DatabaseError(
            tr(
                "The embedded database in {home} cannot be used. {problem}",
                home=home,
                problem=problem,
            )
        )


def _lock(path: Path, operation: int) -> int:
    """Lock a file, making it, and return its descriptor: closing it unlocks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class EmbeddedPostgres:
    """One home's PostgreSQL, as used by this process; a context manager.

    Args:
        home: the installation's home, made if it is missing.
        settings: for a data folder that is still to be made.
        sync: whether a data folder that is still to be made must survive a power failure.
    """

    def __init__(
        self, home: Path, settings: Mapping[str, str] = SETTINGS, *, sync: bool = True
    ) -> None:
        self._home = home
        self._settings = settings
        self._sync = sync
        self._cluster: Cluster | None = None
        self._url = ""
        self._pid = 0
        self._use: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = _lock(self._home / "postgres.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def start(self) -> str:
        """Use the server from now on, starting it if need be; return its URL.

        Cheap when this process uses it already, and then starts a server that died meanwhile.

        Raises:
            DatabaseError: the data folder cannot be used, or the server does not start.
        """
        with _explained(self._home):
            if self._use is not None and self._cluster is not None:
                found = find_postmaster(self._cluster.data)
                if found is not None and found.is_ready and found.pid == self._pid:
                    return self._url
            make_folder(self._home, self._home)
            if self._use is None:
                _refuse_without_locks(self._home)
            with self._alone():
                cluster = open_cluster(self._home.resolve(), self._settings, sync=self._sync)
                password = cluster.password
                server = start_postmaster(cluster)
                if self._use is None:
                    self._use = _lock(self._home / "postgres.users", fcntl.LOCK_SH)
                    atexit.register(self.stop)
        self._cluster, self._pid = cluster, server.pid
        self._url = f"postgresql://{NAME}:{password}@127.0.0.1:{server.port}/{NAME}"
        return self._url

    def stop(self) -> None:
        """Use the server no longer; the last of its users stops it.

        Raises:
            DatabaseError: it does not stop.
        """
        if self._use is None:
            return
        atexit.unregister(self.stop)
        if not self._home.is_dir():
            # Deleted under the server's feet: it notices by itself within a minute, and ends.
            os.close(self._use)
            self._use = None
            return
        with _explained(self._home), self._alone():
            # Closed, not unlocked: a forked child has the same lock, and may still need the server.
            os.close(self._use)
            self._use = None
            try:
                alone = _lock(self._home / "postgres.users", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            try:
                if self._cluster is not None:
                    stop_postmaster(self._cluster.data)
            finally:
                os.close(alone)
