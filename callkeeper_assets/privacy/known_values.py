"""Values of calls in which no number can be: of each it is found out once, for all calls to come.

Sites, marks, pages and statuses come again and again. What is judged here is judged as `rewriting`
would: by the same finders.
"""

from dataclasses import dataclass, field
from typing import Final

from callkeeper_assets.privacy.addresses import read_addresses
from callkeeper_assets.privacy.folding import fold
from callkeeper_assets.privacy.numbers import has_run

_NOTHING: Final = (None, True, False, "")
_MOST: Final = 16_384
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Values of calls that are known; one call is judged by one of these from beginning to end.

    Attributes:
        harmless: texts, whole numbers and what stands for nothing, in which no number can be.
        doubtful: texts in which one can be.
        spoken: addresses that are in the harmless ones.
    """

    harmless: set[object] = field(default_factory=lambda: set(_NOTHING))
    doubtful: set[object] = field(default_factory=set)
    spoken: set[str] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """Whether it is time to begin anew: with the next call, not within one."""
        return len(self.harmless) + len(self.doubtful) >= _MOST

    def is_harmless(self, value: object) -> bool:
        """Whether no number can be in a value, and its addresses are known; both are remembered."""
        if type(value) is not str and type(value) is not int:
            return value is None or type(value) is bool
        if value in self.harmless:
            return True
        text = value if type(value) is str else str(value)
        if text.startswith(("{", "[")) or has_run(text):
            if len(text) <= _LONGEST:
                self.doubtful.add(text)
            return False
        spoken = {str(address) for _, address in read_addresses(fold(text))}
        if len(text) > _LONGEST:
            return not spoken
        # In this order: another thread may ask meanwhile.
        self.spoken.update(spoken)
        self.harmless.add(value)
        return True
