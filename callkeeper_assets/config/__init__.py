"""Sources as configured: from `defs/<source>/defs.yaml` to a checked, frozen `Source`.

`source` has the record every other part works with, `loading` reads the files, `models` are the
attributes a user may write, `errors` say what is wrong and what to do. Nothing here imports
Dagster: the command line reads sources too, and must start quickly.
"""
