"""Which project a process is of, where that keeps what it writes, and how it uses this machine.

A project is a folder whose `pyproject.toml` says so: of a user's own (`callkeeper init`), or the
checkout. `CALLKEEPER_HOME` and the variables that move parts of it, whether locks of files work in
a folder, a child's tie to its parent, and the allocator's settings. Every path that is the user's
to choose is asked for here, and every secret; nothing is created by asking. Stays light to import.
"""

import ctypes
import errno
import fcntl
import opcode
import os
import re
import signal
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType
from typing import Final

from callkeeper_assets.language import tr

_DISTRIBUTION: Final = re.compile(r"callkeeper[-_.]+assets(?![\w.-])", re.IGNORECASE)
_PACKAGE: Final = Path(__file__).resolve().parent
# The files of a new project; of `dagster.yaml` whoever has no project needs a copy, too.
PROJECT_TEMPLATE: Final = _PACKAGE / "project_template"

# Below raw calls, beside the sources' folders, whose names begin with a letter.
LOGS_FOLDER: Final = ".logs"
# Where Docker and Podman put a service's secrets, each a file.
_CONTAINER_SECRETS: Final = Path("/run/secrets")

# From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15

# Of glibc's malloc.h: up to how many free bytes are kept, how many are fetched at a time, from what
# size on a block is one of its own, given back when it is freed, and how many heaps there are.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
# The most that glibc takes.
_LARGEST_KEPT_BLOCK: Final = 1 << 25
# Whole once pyarrow's own modules, which ask for pandas, are imported.
_ASKS_LAST: Final = "adbc_driver_manager.dbapi"
_IMPORT_NAME: Final = opcode.opmap["IMPORT_NAME"]


@dataclass(frozen=True)
class Project:
    """A folder with `[tool.dg.project]` in its `pyproject.toml` that is or requires this product.

    Attributes:
        root: The folder of `pyproject.toml`.
        defs: The folder of sources' folders; may not exist.
        module: What Dagster loads.
    """

    root: Path
    defs: Path
    module: str


@lru_cache(maxsize=64)
def _read_project_file(file: Path, _changed: int) -> Project | None:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
        declared = document["tool"]["dg"]["project"]
        root_module = str(declared["root_module"])
        named = [str(document["project"]["name"]), *document["project"].get("dependencies", [])]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not any(_DISTRIBUTION.match(name) for name in named):
        return None
    root = file.parent
    defs = str(declared.get("defs_module") or f"{root_module}.defs")
    module = declared.get("code_location_target_module") or f"{root_module}.definitions"
    # As dg finds modules: in `src` where there is one.
    base = root / "src" if (root / "src").is_dir() else root
    return Project(root, base.joinpath(*defs.split(".")), str(module))


def read_project(folder: Path) -> Project | None:
    """Return the project of which a folder is the root; None if it is that of none."""
    file = folder / "pyproject.toml"
    try:
        return _read_project_file(file, file.stat().st_mtime_ns)
    except OSError:
        return None


def _candidate_folders() -> Iterator[Path]:
    named = os.environ.get("CALLKEEPER_PROJECT")
    if named:
        yield Path(named).expanduser().absolute()
        return
    with suppress(OSError):  # a working folder may have been deleted
        here = Path.cwd()
        yield from (here, *here.parents)
    # Of Dagster's processes, which somebody may have started anywhere.
    dagster_home = os.environ.get("DAGSTER_HOME")
    if dagster_home:
        yield Path(dagster_home).absolute()
    yield _PACKAGE.parent


def find_project() -> Project | None:
    """Return the project in force; None where there is none.

    `CALLKEEPER_PROJECT` if it is set; else the nearest from the working folder upwards, that in
    `DAGSTER_HOME`, the checkout that this code is of.
    """
    return next(filter(None, map(read_project, _candidate_folders())), None)


def project_root() -> Path:
    """Return the project's folder; the one named, or the working folder, where it is none."""
    project = find_project()
    return project.root if project else next(_candidate_folders())


def home() -> Path:
    """Return `CALLKEEPER_HOME`, absolute; `.callkeeper` in the project's root when unset.

    A relative value counts from the project's root: the processes of one installation do not all
    share a working folder, and must find one home.
    """
    value = os.environ.get("CALLKEEPER_HOME") or ".callkeeper"
    return project_root() / Path(value).expanduser()


def make_folder(folder: Path, installation: Path | None = None) -> None:
    """Make a folder, and those above it that are missing: nobody but their owner may enter.

    One that is there stays as its owner has it, and what lies above the home is as others make it.
    Root's home may be passed through, by the user that the embedded PostgreSQL runs as then.

    Args:
        folder: The folder.
        installation: The home; that of this process if left out.

    Raises:
        OSError: It cannot be made.
    """
    top = installation or home()
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    for each in reversed(missing):
        if each in top.parents:
            each.mkdir(exist_ok=True)
        else:
            is_passed = os.geteuid() == 0 and each == top
            each.mkdir(mode=0o711 if is_passed else 0o700, exist_ok=True)


def raw_url() -> str:
    """Return where raw calls lie, a folder or an fsspec URL; `raw` in the home when unset."""
    return os.environ.get("CALLKEEPER_RAW_URL") or str(home() / "raw")


def logs_url() -> str | None:
    """Return where runs' output lies, beside raw calls; None where these lie in a folder."""
    url = raw_url()
    is_elsewhere = "://" in url and not url.startswith("file:")
    return f"{url.rstrip('/')}/{LOGS_FOLDER}" if is_elsewhere else None


class UnreadableSecretError(Exception):
    """A secret is said to be in a file, and cannot be had from there; says which, and why."""


def _find_secret_files(variable: str) -> Iterator[Path]:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        yield Path(credentials) / variable
        # As systemd calls it that was given a folder: LoadCredential=callkeeper:/etc/….
        yield Path(credentials) / f"callkeeper_{variable}"
    yield _CONTAINER_SECRETS / variable


def read_secret(variable: str) -> str:
    """Return the secret that an environment variable stands for; empty if there is none.

    Of these the first that is there: the variable itself; the file that `<variable>_FILE` names;
    the file of the variable's name among systemd's credentials (`CREDENTIALS_DIRECTORY`), then
    among a container's secrets (`/run/secrets`). Without white space around it. Files are read each
    time, so that a secret which was replaced is taken at its next use.

    Raises:
        UnreadableSecretError: Both variables are set, or a file cannot be read, or is empty.
    """
    value = os.environ.get(variable, "").strip()
    named = os.environ.get(f"{variable}_FILE", "").strip()
    if value and named:
        raise UnreadableSecretError(
            tr(
                "{variable} and {variable}_FILE are both set: unset one, so that it is plain "
                "which one counts.",
                variable=variable,
            )
        )
    if value or not variable:
        return value
    if named:
        return _read_secret_file(
            Path(named), tr("the file that {variable}_FILE names", variable=variable)
        )
    found = next((file for file in _find_secret_files(variable) if file.exists()), None)
    return (
        _read_secret_file(found, tr("the file of the secret {variable}", variable=variable))
        if found
        else ""
    )


def _read_secret_file(file: Path, what: str) -> str:
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or tr("it is not UTF-8")
        raise UnreadableSecretError(
            tr(
                "{file}, {what}, cannot be read: {why}. Let the user of this process read it.",
                file=file,
                what=what,
                why=why,
            )
        ) from error
    if not secret:
        raise UnreadableSecretError(tr("{file}, {what}, is empty.", file=file, what=what))
    return secret


def configured_database_url() -> str | None:
    """Return the secret `CALLKEEPER_DATABASE_URL` as the user wrote it, None where there is none.

    Raises:
        UnreadableSecretError: See `read_secret`.
    """
    return read_secret("CALLKEEPER_DATABASE_URL") or None


def configured_broker_url() -> str | None:
    """Return the secret `CALLKEEPER_BROKER_URL`, by which runs go to workers; None without one.

    Raises:
        UnreadableSecretError: See `read_secret`.
    """
    return read_secret("CALLKEEPER_BROKER_URL") or None


def configured_backup_url() -> str | None:
    """Return `CALLKEEPER_BACKUP_URL`, where backups lie, a folder or an fsspec URL; None: unset."""
    return os.environ.get("CALLKEEPER_BACKUP_URL") or None


def configured_webhook_url() -> str | None:
    """Return `CALLKEEPER_WEBHOOK_URL`, where the receiver is seen from outside; None when unset."""
    value = os.environ.get("CALLKEEPER_WEBHOOK_URL") or ""
    return value.strip().rstrip("/") or None


def dagster_file() -> Path:
    """Return the `dagster.yaml` in force: that of `DAGSTER_HOME` or the project, else our own."""
    folder = os.environ.get("DAGSTER_HOME")
    file = Path(folder or project_root()) / "dagster.yaml"
    return file if folder or file.is_file() else PROJECT_TEMPLATE / "dagster.yaml"


def set_dagster_home() -> Path:
    """Set `DAGSTER_HOME` for this process and its children, unless it is set.

    It is the project's root, where `dagster.yaml` lies. Without one, Dagster would keep its runs in
    files in the working folder: then it is a folder in the home, with the product's own file; and
    with the project's where that may not be written to, as a service's: Dagster makes folders.

    Returns:
        The folder in force, where Dagster looks for `dagster.yaml`.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or project_root())
    if not os.environ.get("DAGSTER_HOME"):
        file = folder / "dagster.yaml"
        if not file.is_file() or not os.access(folder, os.W_OK):
            text = (file if file.is_file() else PROJECT_TEMPLATE / "dagster.yaml").read_text(
                "utf-8"
            )
            folder = home() / "dagster"
            make_folder(folder)
            # Read by processes that start at the same time.
            new = folder / f".dagster.yaml.{os.getpid()}"
            new.write_text(text, encoding="utf-8")
            new.replace(folder / "dagster.yaml")
        os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def find_lock_problem(folder: Path) -> str | None:
    """Try a lock in a folder, which is made if it is missing; say what is wrong with it.

    That another machine's locks are heeded cannot be found out from one.
    """
    path = folder / f".lock-check-{uuid.uuid4().hex}"
    try:
        make_folder(folder)
        with path.open("xb") as first, path.open("r+b") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
        cause = tr("a file that is locked can be locked once more")
    except PermissionError:
        # Who may not write there has another problem, which is reported where it arises.
        return None
    except OSError as error:
        cause = str(error.strerror or error)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return tr(
        "Files cannot be locked in {folder}: {cause}. Processes that use one home are kept apart "
        "by such locks; network folders often lack them. Set CALLKEEPER_HOME to a folder on a "
        "disk of this machine (raw calls may stay elsewhere: CALLKEEPER_RAW_URL).",
        folder=folder,
        cause=cause,
    )


def build_tie(farewell: signal.Signals) -> Callable[[], None] | None:
    """Return what a new child does first: ask the kernel for a signal when its parent ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, farewell)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return tie


def name_this(name: str) -> None:
    """Name this process in lists of processes; on Linux alone, which keeps 15 letters.

    A fork has the command line of the process that it is forked from.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def keep_memory(kept_bytes: int, fetched_bytes: int, *, in_one_heap: bool = False) -> None:
    """Have glibc keep freed memory: it is else given back, and cleared again for each use.

    About a twentieth of a load's time. Other C libraries have no such setting.

    Args:
        kept_bytes: Of the heap's end, which may stay free.
        fetched_bytes: By which the heap grows.
        in_one_heap: All threads share it, so that what one has freed serves another; to be said
            before there are any.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, kept_bytes)
        set_option(_TOP_PAD, fetched_bytes)
        set_option(_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
        if in_one_heap:
            set_option(_ARENA_MAX, 1)


def _is_asked_by_others() -> bool:
    """Whether an import of Python's is under way outside pyarrow and ADBC, as of a user's module.

    pyarrow asks from compiled code: then the frame that is found calls, and imports nothing.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 -- who imports is said nowhere else
    while frame and (frame.f_code.co_filename == __file__ or "<frozen" in frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return False
    name = str(frame.f_globals.get("__name__"))
    is_import = frame.f_code.co_code[frame.f_lasti] == _IMPORT_NAME or name == "importlib"
    return is_import and name.partition(".")[0] not in {"pyarrow", "adbc_driver_manager"}


class _NoPandas(MetaPathFinder):
    """Says of pandas that it is not there, until pyarrow and ADBC have asked; to them alone."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if (
            fullname == "pandas"
            and not hasattr(sys.modules.get(_ASKS_LAST), "connect")
            and not _is_asked_by_others()
        ):
            raise ModuleNotFoundError("This process does without pandas.", name=fullname)
        return None


def skip_pandas() -> None:
    """Have pyarrow, which is not imported yet, take pandas for missing in this process.

    Where it is installed, pyarrow imports it the first time that it makes an array or a datetime,
    and ADBC's `dbapi` does as it is imported: 0.4 s and 60 MB for a question (are these values
    pandas's?) whose answer here is always no. pyarrow keeps the answer, and asks again only where a
    frame is wanted; so afterwards pandas can be imported as ever. None in `sys.modules` would not
    do: compiled modules take it for the module.
    """
    if not {"pyarrow", "pandas"} & sys.modules.keys():
        sys.meta_path.insert(0, _NoPandas())


class _NoColours(MetaPathFinder):
    """Says that what colours tracebacks on a terminal is not there."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname in ("pygments", "rich.console"):
            raise ModuleNotFoundError("This process colours nothing.", name=fullname)
        return None


def skip_colours() -> None:
    """Have the libraries of Dagster do without colours in this process, which has no terminal.

    Each looks whether they are there; a tenth of a second of a worker's imports.
    """
    sys.meta_path.insert(0, _NoColours())
