"""Clients of CallKeeper's APIs: they ask for calls and hand them on exactly as received.

Here: windows, halving, retry, failures, records. Nothing in this folder knows Dagster or SQL. An
API of another kind gets its own client module beside `unified_api.py` and shares the rest.
"""
