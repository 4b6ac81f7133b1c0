"""The spool: where deliveries wait on local disk while the database is away.

A folder in the home with a file for each process that needed one, so that several receivers on one
home are not in each other's way. A file that a dead process left is taken over and drained like
one's own. Not safe for threads: one task at a time may use it.
"""

import logging
import os
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.spool_file import SUFFIX, SpoolFile

_logger = logging.getLogger(__name__)

_PROBE: Final = b"x" * 4096


class Spool:
    """A folder's files, as far as they are this process's.

    Args:
        folder: Made when something has to be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Appended to, until it is drained or the disk refuses; else there is none.
        self._own: SpoolFile | None = None
        # Only drained, the oldest first.
        self._left: list[SpoolFile] = []
        # Somebody else's; that is said once.
        self._unreadable: set[Path] = set()

    @property
    def waiting(self) -> int:
        """Deliveries that are still to be drained, of this process's files."""
        return sum(file.waiting for file in self._files())

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries, all or none.

        Raises:
            OSError: The disk does not take them.
        """
        if self._own is None:
            self._own = SpoolFile.create(self.folder / f"{uuid.uuid4().hex}{SUFFIX}")
        try:
            self._own.append(deliveries)
        except OSError:
            # After a failed write nobody knows what a disk will do with the next one in that file.
            self._left.append(self._own)
            self._own = None
            raise

    def take_over(self) -> int:
        """Become the owner of files without one; return how many deliveries they hold."""
        found = 0
        owned = {file.path for file in self._files()}
        for path in sorted(self.folder.glob(f"*{SUFFIX}"), key=_age):
            if path in owned:
                continue
            try:
                file = SpoolFile.take_over(path)
            except OSError as error:
                if path not in self._unreadable:
                    _logger.warning("The spool's file %s cannot be read: %s.", path, error)
                    self._unreadable.add(path)
                continue
            if file is not None:
                self._left.append(file)
                found += file.waiting
        return found

    def read(self, most: int) -> tuple[SpoolFile, list[Delivery], int] | None:
        """Return the next deliveries to drain, with their file and the position behind them.

        Files that have nothing more are removed; None if all have.

        Raises:
            OSError: A file cannot be read.
        """
        for file in self._files():
            if file.waiting:
                deliveries, position = file.read(most)
                return file, deliveries, position
            self._remove(file)
        return None

    def probe(self) -> str | None:
        """Say why nothing can be kept; None if it can."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Without a name: a kill leaves nothing behind.
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(_PROBE)
        except OSError as error:
            return error.strerror or type(error).__name__
        return None

    def close(self) -> None:
        """Give up all files; what waits in them is left for whoever comes next."""
        for file in self._files():
            if file.waiting:
                file.close()
            else:
                self._remove(file)
        self._own, self._left = None, []

    def _files(self) -> list[SpoolFile]:
        return [*self._left, *([self._own] if self._own else [])]

    def _remove(self, file: SpoolFile) -> None:
        if file is self._own:
            self._own = None
        else:
            self._left.remove(file)
        torn = file.torn_bytes
        kept = file.remove()
        if kept is not None:
            _logger.warning(
                "The spool's file %s ended in %d bytes that are no whole record: they were being "
                "written when a receiver was killed, and were never answered for. All before them "
                "is in the inbox. The file is kept as %s; delete it when you have looked at it.",
                file.path.name,
                torn,
                kept,
            )


def _age(path: Path) -> tuple[float, str]:
    with suppress(OSError):
        return os.stat(path).st_mtime, path.name  # noqa: PTH116 -- one that vanished is no error
    return 0.0, path.name
