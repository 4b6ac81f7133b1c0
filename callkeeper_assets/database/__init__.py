"""The name by which an older `dagster.yaml` names Dagster's storage: it is in `dagster_ext`."""
