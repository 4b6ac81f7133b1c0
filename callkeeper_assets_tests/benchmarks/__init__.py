"""`make bench`: the product against the loaders that its users would write instead.

Whole commands on one machine, in one run: the same simulator, the same PostgreSQL, the same calls.
Measured here: nothing is asserted but that what was loaded is right. `docs/benchmarks.md` says how
to read the result.
"""
