"""Personal data where they are stored: protected on the way in, brought to new settings, forgotten.

Applies `callkeeper_assets.privacy` to raw files, the inbox and the tables. `shield` stands before
what loads write; `forgetting`, `applying` and `exporting` are the three commands. Knows nothing of
Dagster or HTTP.
"""
