"""Tests: the folders mirror the package; `e2e`, `chaos` and `benchmarks` look at the whole."""
