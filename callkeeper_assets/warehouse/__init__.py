"""The star schema in PostgreSQL: its tables as data, migrations, the loader, checks and queries.

Everything that knows SQL of the warehouse lives here; nothing here knows Dagster or HTTP.
Import from the module itself: this package is light until one of them is imported.
"""
