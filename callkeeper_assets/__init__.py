"""CallKeeper's calls in your own PostgreSQL, as Dagster assets; and for analysts, as frames.

`__all__` is the public API: the component, which every `defs.yaml` names, and what reads for
analysts (`import callkeeper_assets as ck`, docs/python.md). All of it is imported when it is first
asked for: importing this package stays cheap. Everything else is the product's own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from callkeeper_assets.analysis.columns import NothingLoadedError, ReadingError
    from callkeeper_assets.analysis.reading import (
        MissingDaysWarning,
        calls,
        connect,
        raw_calls,
        report,
    )
    from callkeeper_assets.source import CallKeeperSource, build_definitions

__all__ = [
    "CallKeeperSource",
    "MissingDaysWarning",
    "NothingLoadedError",
    "ReadingError",
    "build_definitions",
    "calls",
    "connect",
    "raw_calls",
    "report",
]

# Where each is: no module of the package may have one of these names, or it would hide it.
_HOMES: Final = {
    "CallKeeperSource": "source",
    "MissingDaysWarning": "analysis.reading",
    "NothingLoadedError": "analysis.columns",
    "ReadingError": "analysis.columns",
    "build_definitions": "source",
    "calls": "analysis.reading",
    "connect": "analysis.reading",
    "raw_calls": "analysis.reading",
    "report": "analysis.reading",
}


def __getattr__(name: str) -> object:
    # Importing Dagster takes seconds, and the command line imports this package first of all.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # `dg` finds components by dir(), which would not show one that is imported on demand.
    return sorted({*globals(), *__all__})
