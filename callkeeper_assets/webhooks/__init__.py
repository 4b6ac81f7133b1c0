"""Webhooks: taken over HTTP, kept on disk before they are answered, read as calls later.

`server` runs it all; `receiver` is the HTTP face, `intake` the group commit into `inbox` (the
database) or `spool` (local disk, while the database is away); `payload` and `raw_call` read what
came. `plans` decides when a run starts, `processing` brings what waits (`inbox_rows`) into the
tables by the warehouse's loader, `audit` holds the inbox against what the source says it sent, and
`inbox_queries` tell others of it. Knows nothing of Dagster.
"""
