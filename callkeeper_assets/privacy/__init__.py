"""Personal data in raw calls: what counts as such, and how it is masked, hashed or erased.

Text and JSON in, text and JSON out; knows nothing of Dagster, SQL, HTTP or files. `rule` says what
a source wants, `fields` where personal data lie in a call, `rewriting` applies the one to the
other. Pure, but for `process`, which does that in processes of its own, and `redaction`, which
keeps the secrets that it was told. What applies it to files and tables is
`callkeeper_assets.personal_data`.
"""
