"""Names by which a `dagster.yaml` of before names Dagster's storage; all else is in `postgres`."""
