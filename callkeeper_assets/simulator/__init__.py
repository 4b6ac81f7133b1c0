"""CallKeeper's API and webhooks, imitated over real HTTP: for tests, the demo and the benchmark.

Everything served follows from a seed, and the simulator serves the truth about it, so that a
load can be compared with what was there to load. Nothing here knows Dagster, SQL or this product's
client: an error shared by both sides would go unseen.
"""
