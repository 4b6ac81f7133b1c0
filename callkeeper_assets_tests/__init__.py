"""Tests: the folders mirror the package; `e2e`, `chaos` and `benchmarks` look at the whole."""

import gc
from typing import Final

# What each process of the product begins with.
USUAL_THRESHOLD: Final = gc.get_threshold()
# A worker of pytest imports everything and then has a million objects that stay: looking through
# them again and again is a tenth of what it does.
gc.set_threshold(50_000, 20, 20)
