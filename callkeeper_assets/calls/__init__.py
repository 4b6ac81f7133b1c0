"""Calls as they were received: their fields, their JSON, their ids, a day of them, and their files.

The ground that clients, webhooks, the warehouse and reports stand on. Knows nothing of Dagster,
HTTP or PostgreSQL.
"""
