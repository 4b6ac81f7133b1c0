"""Retention: calls older than a source keeps are deleted, from everywhere, or counted.

`source` goes through all that is kept of a source: raw files, the inbox and, by `warehouse`, the
tables.
"""
