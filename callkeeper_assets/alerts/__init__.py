"""What needs a person, found, told once for each cause, and delivered for certain.

`facts` gathers, `findings` decides, for `callkeeper status` as for alerts; `plans` says what of it
is to be told now, `store` keeps causes and the outbox, `sending` delivers, `watching` is the
process. Imports neither Dagster nor DuckDB: it has to live while these do not.
"""
