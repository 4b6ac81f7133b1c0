"""Webhooks: taken over HTTP, kept on disk before they are answered, read as calls later.

`server` runs it all; `receiver` is the HTTP face, `intake` the group commit into `inbox` (the
database) or `spool` (local disk, while the database is away); `payload` and `raw_call` read what
came. Knows nothing of Dagster. What becomes of a payload in the tables does not belong here.
"""
