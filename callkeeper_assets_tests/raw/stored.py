"""What lies in a store of raw calls, for tests."""

from datetime import date

from callkeeper_assets.raw.store import RawStore


def stored_ids(store: RawStore, source: str, day: date) -> set[int]:
    """Return the ids of a day's calls; none where there is no file."""
    found = store.look_up(source, day)
    return found[0] if found else set()
