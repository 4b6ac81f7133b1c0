"""The star schema in PostgreSQL: its tables as data, migrations, the loader, checks and queries.

What features share of the tables lives here, a feature's own SQL with the feature; nothing here
knows Dagster or HTTP.
Import from the module itself: this package is light until one of them is imported.
"""
