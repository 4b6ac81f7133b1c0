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
        self._shown_ms = 0
        self._shown = ""

    def write(self, source: str, status: int, size: int, seconds: float) -> None:
        """Note a request; `source` is empty if it was not let in."""
        now_ms = int(1000 * time.time())
        if now_ms != self._shown_ms:
            # Most of a line's cost, and the same for all that are answered together.
            self._shown_ms = now_ms
            second, part_ms = divmod(now_ms, 1000)
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._shown = f"{shown}.{part_ms:03d}Z"
        self._lines.append(
            f"{self._shown} {source or '-'} {status} {size} B {1000 * seconds:.1f} ms\n"
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
