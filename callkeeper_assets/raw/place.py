"""The folder or object store where files of raw calls lie, by fsspec.

A folder is asked as it is. A request to an object store takes a hundred times as long: what is not
there is known from a list, and not asked for; several are under way at once; files are deleted by
the thousand.
"""

import copy
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from callkeeper_assets.home import make_folder
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.object_store import is_s3, open_files

_WRITERS: Final = 2
# Requests to an object store, each of which waits for its answer.
_AT_ONCE: Final = 8
# As many as S3 takes in one request.
_DELETED_AT_ONCE: Final = 1000

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class RawError(Exception):
    """A file of raw calls that cannot be used or written."""


class StoreError(RawError):
    """The place of raw calls cannot be read or written."""


def list_errors(url: str) -> tuple[type[Exception], ...]:
    """Return the errors of a place that cannot be reached: those of S3's client are its own."""
    if not is_s3(url):
        return (OSError,)
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 -- installed with s3fs

    return (OSError, BotoCoreError)


class Place:
    """A place; of each method's errors, `StoreError` says that it cannot be used.

    Args:
        url: A folder, or an fsspec URL such as `s3://bucket/callkeeper`.

    Attributes:
        root: What all paths begin with.

    Raises:
        StoreError: No file system is known, or installed, for the URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Listings are not cached: another process may have written since.
        options: dict[str, Any] = {"use_listings_cache": False}
        if is_s3(url):
            # It would ask for each file's size, to read large ones in parts side by side.
            options["max_concurrency"] = 1
        try:
            self._files, self.root = open_files(url, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(
                tr(
                    "CALLKEEPER_RAW_URL names a place that cannot be used: {url} ({error}). Use a "
                    "folder, or install the file system's package (s3:// needs the extra: pip "
                    "install 'callkeeper-assets[s3]').",
                    url=url,
                    error=error,
                )
            ) from error
        self._is_local = isinstance(self._files.protocol, tuple) and "file" in self._files.protocol
        self._errors = list_errors(url)
        # By folder, the paths of the files that are there.
        self._known: dict[str, set[str]] = {}

    @property
    def writers(self) -> int:
        """How many files are written at once."""
        return _WRITERS if self._is_local else _AT_ONCE

    def knowing(self, folders: Iterable[str]) -> Self:
        """Return the place with knowledge of what is in these folders, where nobody else writes."""
        if self._is_local:
            return self
        made = copy.copy(self)
        known = {folder: set(self.find(folder)) for folder in folders}
        made._known = known  # noqa: SLF001 -- its own copy
        return made

    def ahead(
        self, read: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[tuple[_Item, Callable[[], _Result]]]:
        """Yield each item with a function that returns, or raises, what came of reading it.

        An object store is read in threads, a few items ahead of the one that is yielded.
        """
        if self._is_local:
            yield from ((item, partial(read, item)) for item in items)
            return
        for item, future in side_by_side(_AT_ONCE, read, items):
            yield item, future.result

    def find(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return what lies below a folder, by path.

        Where a folder is but a prefix of names, a store may list what begins alike as well: `main`
        would have the days of `main_2`, and retention would delete them.
        """
        with self._said(folder, mark("could not be listed")):
            found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
        inside = f"{folder.rstrip('/')}/"
        return {path: one for path, one in found.items() if path.startswith(inside)}

    def list_folders(self) -> list[str]:
        """Return the names of the folders below the root, sorted."""
        with self._said(self.root, mark("could not be listed")):
            if not self._files.exists(self.root):
                return []
            folders = self._files.ls(self.root, detail=True)
        paths = (one["name"] for one in folders if one["type"] == "directory")
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is none."""
        if self._is_missing(path):
            return None
        with self._said(path, mark("could not be read")):
            try:
                content: bytes = self._files.cat_file(path)
            except FileNotFoundError:
                return None
            return content

    def keep(self, path: str, beside: str) -> None:
        """Keep a file's content beside, unless there is something already."""
        with self._said(beside, mark("could not be read")):
            known = self._known.get(_folder_of(beside))
            is_kept = self._files.exists(beside) if known is None else beside in known
        content = None if is_kept else self.read(path)
        if content is not None:
            self.replace(beside, content)

    def replace(self, path: str, content: bytes) -> None:
        """Write a file, in one step."""
        with self._said(path, mark("could not be written")):
            if self._is_local:
                _replace_local(Path(path), content)
            else:
                # An object store shows an object only when it is complete.
                self._files.pipe_file(path, content)
                self._known.get(_folder_of(path), set()).add(path)

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        if self._is_missing(path):
            return
        with self._said(path, mark("could not be deleted")), suppress(FileNotFoundError):
            self._files.rm_file(path)
        self._known.get(_folder_of(path), set()).discard(path)

    def remove_all(self, paths: Iterable[str]) -> None:
        """Delete files, of an S3 store by the thousand."""
        listed = list(paths)
        if not hasattr(self._files, "call_s3"):
            for path in listed:
                self.remove(path)
            return
        for first in range(0, len(listed), _DELETED_AT_ONCE):
            some = [self._files.split_path(one) for one in listed[first:][:_DELETED_AT_ONCE]]
            with self._said(listed[first], mark("could not be deleted")):
                # Not by `rm`, which says nothing of those that the store refuses to delete.
                done = self._files.call_s3(
                    "delete_objects",
                    Bucket=some[0][0],
                    Delete={"Objects": [{"Key": key} for _, key, _ in some], "Quiet": True},
                )
                for refused in done.get("Errors", ()):
                    raise PermissionError(0, refused.get("Message") or refused.get("Code"))

    def _is_missing(self, path: str) -> bool:
        known = self._known.get(_folder_of(path))
        return known is not None and path not in known

    @contextmanager
    def _said(self, path: str, problem: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreError(
                tr(
                    "Raw calls {problem}: {path} ({cause}). Check the place that "
                    "CALLKEEPER_RAW_URL names ({url}): its permissions, free space and "
                    "credentials.",
                    problem=look_up(problem),
                    path=path,
                    cause=cause,
                    url=self._url,
                )
            ) from error


def side_by_side(
    at_once: int, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[tuple[_Item, Future[_Result]]]:
    """Yield each item, in order, with the work on it, which is done in threads, a few ahead."""
    with ThreadPoolExecutor(at_once, "raw-calls") as pool:
        under_way: deque[tuple[_Item, Future[_Result]]] = deque()
        for item in items:
            under_way.append((item, pool.submit(work, item)))
            if len(under_way) > at_once:
                yield under_way.popleft()
        yield from under_way


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _replace_local(path: Path, content: bytes) -> None:
    """Write beside, make it durable, rename: the folder's entry changes in one step."""
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
