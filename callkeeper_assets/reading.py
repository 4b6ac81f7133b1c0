"""How raw calls are read, as a number: tables remember by which reading each day was filled.

Raise it with any change that gives a raw call other values, or another id: days filled by an older
reading are then filled again from their raw calls, by the next refresh or `callkeeper rebuild`.
"""

from typing import Final

# 1: schemas up to 0006. 2: the unified API's `duration` is the talk; ids of imported calls.
READING: Final = 2
