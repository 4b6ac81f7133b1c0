"""Whether locks of files mean anything in a folder: on network folders they may not.

Two daemons on one home, two owners of a spool and the embedded server's users are kept apart by
`flock`. A network folder may refuse it, or say yes to everybody: that is found out by trying.
"""

import fcntl
import uuid
from contextlib import suppress
from pathlib import Path


def find_lock_problem(folder: Path) -> str | None:
    """Try a lock in a folder, which is made if it is missing; say what is wrong with it.

    That another machine's locks are heeded cannot be found out from one.
    """
    path = folder / f".lock-check-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as first, path.open("r+b") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
        cause = "a file that is locked can be locked once more"
    except PermissionError:
        # Who may not write there has another problem, which is told where it is.
        return None
    except OSError as error:
        cause = str(error.strerror or error)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return (
        f"Files cannot be locked in {folder}: {cause}. Processes that use one home are kept apart "
        f"by such locks; network folders often lack them. Set CALLKEEPER_HOME to a folder on a "
        f"disk of this machine (raw calls may stay elsewhere: CALLKEEPER_RAW_URL)."
    )
