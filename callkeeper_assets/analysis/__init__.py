"""Reading for analysts: calls, raw calls and reports as frames; queries as files. Never writes.

`import callkeeper_assets as ck` offers `reading`; the command `callkeeper query` is over `export`.
Knows the configuration and the warehouse, nothing of Dagster. This package imports nothing.
"""
