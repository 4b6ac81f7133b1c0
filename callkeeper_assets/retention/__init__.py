"""Retention: calls older than a source keeps are deleted, from everywhere, or counted.

`old_calls` goes through all that is kept of a source: the tables, the inbox, raw files, the spool.
"""
