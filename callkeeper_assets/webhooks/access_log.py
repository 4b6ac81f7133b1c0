"""The receiver's own access log: a line a request, without URL, token or anything of the body.

Lines are written together, a few times a second: a write for each would cost as much as a commit's
share.
"""

import asyncio
import contextlib
import sys
import time
from typing import Final, TextIO

_PAUSE_SEC: Final = 0.25


class AccessLog:
    """Writes to standard error, or to a stream given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines: list[str] = []
        self._is_due = False
        self._second = 0.0
        self._shown = ""

    def write(self, source: str, status: int, size: int, seconds: float) -> None:
        """Note a request; `source` is empty if it was not let in."""
        second, part = divmod(time.time(), 1)
        if second != self._second:
            # The date is most of a line's cost, and the same for a second.
            self._second = second
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._lines.append(
            f"{self._shown}.{int(1000 * part):03d}Z {source or '-'} {status} "
            f"{size} B {1000 * seconds:.1f} ms\n"
        )
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_PAUSE_SEC, self.flush)

    def flush(self) -> None:
        """Write what was noted."""
        self._is_due = False
        lines, self._lines = self._lines, []
        # A log on a full disk is no reason to take no more webhooks.
        with contextlib.suppress(OSError):
            self._stream.write("".join(lines))
            self._stream.flush()
