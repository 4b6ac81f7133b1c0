"""How a process of ours is kept small and quick: freed memory, and an import that none needs.

For processes that run nothing but this product; nothing here may reach somebody else's.
"""

import ctypes
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Final

# Of glibc's malloc.h: up to how many free bytes are kept, how many are fetched at a time, and from
# what size on a block is one of its own, given back when it is freed.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
# The most that glibc takes.
_LARGEST_KEPT_BLOCK: Final = 1 << 25
# Whole once pyarrow's own modules, which ask for pandas, are imported.
_ASKS_LAST: Final = "adbc_driver_manager.dbapi"


def keep_memory(kept_bytes: int, fetched_bytes: int) -> None:
    """Tell glibc to keep freed memory: it is else given back, and cleared again for each use.

    About a twentieth of a load's time. Other C libraries have no such setting.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, kept_bytes)
        set_option(_TOP_PAD, fetched_bytes)
        set_option(_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)


class _NoPandas(MetaPathFinder):
    """Says of pandas that it is not there, until pyarrow and ADBC have asked."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname == "pandas" and not hasattr(sys.modules.get(_ASKS_LAST), "connect"):
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
