"""CallKeeper's calls in your own PostgreSQL, as Dagster assets.

The package's rooms: `api` (the source over HTTP), `warehouse` (the star schema in PostgreSQL),
`database` (which PostgreSQL, the embedded one included), `assets` (Dagster wiring), `simulator`
(CallKeeper, imitated), `cli` (the `callkeeper` command). Import from the room itself.
"""
