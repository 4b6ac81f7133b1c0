"""Clients of CallKeeper's APIs: they ask for calls and hand them on exactly as received.

Here: windows, halving, retry, failures, records. Nothing in this folder knows Dagster or SQL. An
API of another kind is asked and read as those in `apis.py` are, and shares the rest.
"""
