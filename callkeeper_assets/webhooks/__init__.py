"""Webhooks: taken over HTTP, kept on disk before they are answered, read as calls later.

`server` runs it all; `receiver` is the HTTP face, `intake` the group commit into `inbox` (the
database) or `spool` (local disk, while the database is away); `payload` and `raw_call` read what
came; `processing` brings it into the tables by the warehouse's loader. Knows nothing of Dagster.
"""
