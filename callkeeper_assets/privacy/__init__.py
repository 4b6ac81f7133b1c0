"""Personal data in raw calls: what counts as such, and how it is masked, hashed or erased.

Pure: text and JSON in, text and JSON out; knows nothing of Dagster, SQL, HTTP or files. `rule` says
what a source wants, `fields` where personal data lie in a call, `rewriting` applies the one to the
other. What applies it to files and tables is `callkeeper_assets.personal_data`.
"""
