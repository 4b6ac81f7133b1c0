"""Calls as they were received: their fields, their JSON, their ids, a day of them, and their files.

The ground that clients, webhooks, the warehouse and reports stand on. Knows nothing of Dagster or
HTTP; of PostgreSQL only that locks are asked after before a day's file is replaced.
"""
