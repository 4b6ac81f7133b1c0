"""Clients of the source's APIs: they ask for calls and hand them on exactly as received.

Here: windows, halving, retry, failures, redaction, records. Nothing in this folder knows Dagster or
SQL. An API of another kind gets its own client module beside `client.py` and shares the rest.
"""
