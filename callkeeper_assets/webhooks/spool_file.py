"""One file of the spool: deliveries appended durably, and read again in their order.

Records are framed by length and checksum, so that an end that was being written when the process or
the machine died is recognised. The file is locked as long as somebody owns it: the kernel unlocks
what a killed process leaves, and another one takes it over.
"""

import errno
import fcntl
import itertools
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from callkeeper_assets.webhooks.delivery import Delivery

SUFFIX: Final = ".spool"
TORN_SUFFIX: Final = ".torn"
_BEGINNING: Final = b"callkeeper spool 1\n"
_FRAME: Final = struct.Struct("<II")
# Of a window read at once; one record, a body of 1 MiB and its frame, must fit.
_WINDOW: Final = 4 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Delivery).decode


def _frame(delivery: Delivery) -> bytes:
    content = _encode(delivery)
    return _FRAME.pack(len(content), zlib.crc32(content)) + content


def _read_frames(window: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each whole record's content and where it ends; stop at the first that is not whole."""
    position = 0
    while position + _FRAME.size <= len(window):
        length, checksum = _FRAME.unpack_from(window, position)
        begin, position = position + _FRAME.size, position + _FRAME.size + length
        content = window[begin:position]
        # Zeros, which a power failure can leave, would be a whole record of nothing.
        if not length or len(content) < length or zlib.crc32(content) != checksum:
            return
        yield content, position


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_spooled(folder: Path) -> Iterator[Delivery]:
    """Yield what waits in a folder's files, whoever owns them; an end that is torn is left out."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            if content.startswith(_BEGINNING):
                for frame, _ in _read_frames(content[len(_BEGINNING) :]):
                    yield _decode(frame)


class SpoolFile:
    """A file that this process owns; made by `create` or `take_over`.

    Attributes:
        waiting: Deliveries that are still to be drained.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.waiting = 0
        self._descriptor = descriptor
        self._position = len(_BEGINNING)
        self._end = len(_BEGINNING)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new, empty file.

        Raises:
            OSError: The disk does not take it; nothing is left of it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name until it is locked: else somebody might take it over before.
        making = path.with_suffix(".new")
        descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made = cls(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made._write(_BEGINNING, 0)
            making.rename(path)
            _sync_folder(path.parent)
        except OSError:
            making.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return made

    @classmethod
    def take_over(cls, path: Path) -> Self | None:
        """Become the owner of a file that was left; None if it has an owner, or is gone.

        Raises:
            OSError: It cannot be read.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have drained and removed it meanwhile.
            is_there = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            is_there = False
        if not is_there:
            os.close(descriptor)
            return None
        found = cls(path, descriptor)
        found._measure()
        return found

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole record."""
        return max(0, os.fstat(self._descriptor).st_size - self._end)

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Append deliveries, all or none; they survive a power failure from then on.

        Raises:
            OSError: The disk does not take them. What is in the file already stays whole.
        """
        content = b"".join(map(_frame, deliveries))
        try:
            self._write(content, self._end)
        except OSError:
            # What was written of it would be drained, and the sender is told that nothing was kept.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(content)
        self.waiting += len(deliveries)

    def read(self, most: int) -> tuple[list[Delivery], int]:
        """Return the next deliveries, at most so many, and the position behind them.

        Raises:
            OSError: The disk gives something else than was written.
        """
        length = min(_WINDOW, self._end - self._position)
        window = os.pread(self._descriptor, length, self._position)
        frames = list(itertools.islice(_read_frames(window), most))
        if not frames:
            raise OSError(errno.EIO, "a record is damaged", str(self.path))
        return [_decode(content) for content, _ in frames], self._position + frames[-1][1]

    def read_all(self, most: int) -> Iterator[list[Delivery]]:
        """Yield all that waits, so many at once; nothing is drained by it.

        Raises:
            OSError: The disk gives something else than was written.
        """
        begin, position = self._position, self._position
        while position < self._end:
            self._position = position
            try:
                deliveries, position = self.read(most)
            finally:
                self._position = begin
            yield deliveries

    def forget(self, count: int, position: int) -> None:
        """Note that so many deliveries, up to a position, are drained."""
        self.waiting -= count
        self._position = position

    def remove(self) -> Path | None:
        """Give the drained file up; what is torn at its end is kept, and its place returned."""
        kept = self.path.with_suffix(TORN_SUFFIX) if self.torn_bytes else None
        if kept is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.rename(kept)
        self.close()
        return kept

    def close(self) -> None:
        """Give the file up as it is: whoever comes next takes it over."""
        os.close(self._descriptor)

    def _write(self, content: bytes, position: int) -> None:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            position += written
            rest = rest[written:]
        os.fdatasync(self._descriptor)

    def _measure(self) -> None:
        """Find the end of what is whole, and count it."""
        size = os.fstat(self._descriptor).st_size
        if os.pread(self._descriptor, len(_BEGINNING), 0) != _BEGINNING:
            self._end = 0 if size else len(_BEGINNING)
            return
        while self._end < size:
            window = os.pread(self._descriptor, _WINDOW, self._end)
            ends = [end for _, end in _read_frames(window)]
            if not ends:
                return
            self.waiting += len(ends)
            self._end += ends[-1]
