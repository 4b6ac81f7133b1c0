"""Reconciliation: stored calls compared with the source's, and what differs corrected.

Uses the warehouse's loader; knows nothing of Dagster or HTTP.
"""
