"""Raw calls as files: what the source sent, one Parquet a day, in a folder or an object store.

Add here what concerns the files. Knows nothing of Dagster, HTTP or SQL.
"""
