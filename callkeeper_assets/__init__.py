"""CallKeeper's calls in your own PostgreSQL, as Dagster assets.

docs/architecture.md draws its packages in their layers. Import from the package itself; only the
component, which every `defs.yaml` names, is here as well.
"""

from typing import TYPE_CHECKING

from callkeeper_assets.local_time import use_newest_rules

if TYPE_CHECKING:
    from callkeeper_assets.source import CallKeeperSource

__all__ = ["CallKeeperSource"]

# Before any zone is read: by Dagster's daemon and web server, too, which import the storage here.
use_newest_rules()


def __getattr__(name: str) -> object:
    # Importing Dagster takes seconds, and the command line imports this package first of all.
    if name == "CallKeeperSource":
        from callkeeper_assets.source import CallKeeperSource  # noqa: PLC0415

        return CallKeeperSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # `dg` finds components by dir(), which would not show one that is imported on demand.
    return sorted({*globals(), *__all__})
