"""The file system of a URL, by fsspec; an S3 store's with a time limit for each of its requests.

By itself, who writes to a store that accepts and does not answer waits for ever: aiohttp has no
time limit while it waits for `100 Continue`, which boto asks for before each object. Who reads
would know after six minutes. Stays light to import.
"""

import asyncio
from functools import cache
from typing import Any, Final

from callkeeper_assets.language import tr

_S3: Final = ("s3:", "s3a:")
# Of a request with boto's own tries of it, which have 15 s each; then it is made once more.
LIMIT_SEC: Final = 60.0
# Bytes a second of a body that is sent, to which a slow line has to come beside.
_SLOWEST: Final = 64 << 10


class StalledError(OSError):
    """A request had no answer in time; no TimeoutError, which s3fs would answer by five more."""


def is_s3(url: str) -> bool:
    """Whether a URL names a place in an S3 store."""
    return url.startswith(_S3)


@cache
def _limited_s3() -> Any:  # noqa: ANN401 -- a class of s3fs's, which has no types
    from fsspec.asyn import sync_wrapper  # noqa: PLC0415 -- only who touches files needs it
    from s3fs import S3FileSystem  # noqa: PLC0415 -- an extra

    class LimitedS3(S3FileSystem):  # type: ignore[misc]
        """S3, each of whose requests ends."""

        async def _call_s3(self, method: str, *options: Any, **more: Any) -> Any:  # noqa: ANN401
            body = more.get("Body")
            limit = LIMIT_SEC + (len(body) / _SLOWEST if isinstance(body, bytes | bytearray) else 0)
            for is_last in (False, True):
                request = super()._call_s3(method, *options, **more)
                try:
                    return await asyncio.wait_for(request, limit)
                except TimeoutError as error:
                    if is_last:
                        raise StalledError(
                            tr("no answer in {seconds:.0f} s, twice", seconds=limit)
                        ) from error
            raise AssertionError

        call_s3 = sync_wrapper(_call_s3)

    return LimitedS3


def open_files(url: str, **options: Any) -> tuple[Any, str]:  # noqa: ANN401 -- fsspec's
    """Return the file system of a URL, with fsspec's options, and the URL's root there.

    Raises:
        ImportError: The file system's package is not installed.
        ValueError: No file system is known for the URL.
    """
    if is_s3(url):
        s3 = _limited_s3()
        return s3(**options), s3._strip_protocol(url)  # noqa: SLF001 -- fsspec's, for all
    import fsspec  # noqa: PLC0415 -- not before something is read or written

    opened: tuple[Any, str] = fsspec.core.url_to_fs(url, **options)
    return opened
