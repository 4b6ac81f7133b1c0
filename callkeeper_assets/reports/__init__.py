"""Custom reports: chosen fields of raw calls, as JSON rows or as the user's own tables.

`definition` has what a report is, `names` and `paths` what may be written in it, `values` how a
value becomes a column's, `rows` how calls become rows, `structure` makes the tables, `merge` and
`loading` bring days into them. Knows nothing of Dagster or HTTP; light until one is imported.
"""
