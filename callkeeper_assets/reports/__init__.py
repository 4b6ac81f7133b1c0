"""Custom reports: chosen fields of raw calls, as JSON rows or as the user's own tables.

`definition` has what a report is, `rows` what may be asked of a call and how calls become rows,
`structure` makes the tables, `merge` and `loading` bring days into them.
Knows nothing of Dagster or HTTP; light until one is imported.
"""
