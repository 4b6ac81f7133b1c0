"""Processes the inbox of many sources, by rounds: in each a bounded number of payloads of each.

Sources that have tables, filters and time zone in common, as most have, are loaded together: their
calls are few, and a load's statements cost the same for one source as for a hundred. One that
fails is left out, and does not hold up the others.
"""

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from callkeeper_assets.config.source import Source
from callkeeper_assets.database.errors import DatabaseLostError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.errors import UnavailableError
from callkeeper_assets.warehouse.loader import Loader
from callkeeper_assets.webhooks.processing import InboxProcessor, Processed, load_together

# Of one round: so many bodies are in memory at once, and at least so many of each source.
_MOST_ROWS: Final = 2_000
_LEAST_ROWS: Final = 20
_LONGEST_SEC: Final = 20.0
# No source's fault: the database went away, or a lock that the run relies on.
_AWAY: Final = (UnavailableError, DatabaseLostError)


class InboxRun:
    """Processes all that waits for sources.

    Attributes:
        processed: what came of each source's payloads, by name, failed ones included.
        failures: by source's name; it has payloads that still wait.
    """

    def __init__(
        self, loader: Loader, sources: Iterable[Source], store: RawStore, run_id: str
    ) -> None:
        self._loader = loader
        self._run_id = run_id
        processors = [InboxProcessor(loader, source, store, run_id) for source in sources]
        # The order in which every run locks accounts: no two wait for each other.
        self._processors = sorted(processors, key=lambda one: one.account_id)
        self.failures: dict[str, Exception] = {}

    @property
    def processed(self) -> dict[str, Processed]:
        """What came of each source's payloads, by name."""
        return {one.source.name: one.processed for one in self._processors}

    def process(self) -> None:
        """Process until nothing waits, but for sources that fail, or until it has taken long.

        What still waits then is the next run's: payloads of sources that this run is not for must
        not wait for the end of a great backlog.
        """
        active: Sequence[InboxProcessor] = self._processors
        until = time.monotonic() + _LONGEST_SEC
        while active and time.monotonic() < until:
            active = [one for group in _group(active) for one in self._process_some(group)]

    def _process_some(self, group: Sequence[InboxProcessor]) -> list[InboxProcessor]:
        """Process some payloads of each source of a group; return those that may have more."""
        most = max(_LEAST_ROWS, _MOST_ROWS // len(group))
        taken: list[InboxProcessor] = []
        try:
            with ExitStack() as locks:
                for one in group:
                    locks.enter_context(self._loader.session.lock(one.account_id))
                    with self._noting_failure(one):
                        if one.take_some(most):
                            taken.append(one)
                self._load(taken)
        except _AWAY as error:
            # The connection is gone, and with it the locks and what was not committed.
            for one in group:
                self.failures.setdefault(one.source.name, error)
        return [one for one in taken if one.source.name not in self.failures]

    def _load(self, processors: Sequence[InboxProcessor]) -> None:
        """Load together what is taken; if that fails, each alone, so that only the culprit does."""
        try:
            load_together(self._loader, processors, self._run_id)
        except _AWAY:
            raise
        except Exception:  # noqa: BLE001 -- it comes again, from the source that it is about
            for one in processors:
                with self._noting_failure(one):
                    one.load_alone()

    @contextmanager
    def _noting_failure(self, processor: InboxProcessor) -> Iterator[None]:
        try:
            yield
        except _AWAY:
            raise
        except Exception as error:  # noqa: BLE001 -- whoever asks for the failures tells a bug
            self.failures[processor.source.name] = error


def _group(processors: Sequence[InboxProcessor]) -> list[list[InboxProcessor]]:
    """Group what can be loaded together, in the given order."""
    groups: dict[Hashable, list[InboxProcessor]] = {}
    for one in processors:
        source = one.source
        # As text: a filter's value may be a list, which is no key.
        filters = repr(sorted(source.filters.items()))
        groups.setdefault((source.time_zone, source.tables, filters), []).append(one)
    return list(groups.values())
