"""The process of a command's runs: one source's Dagster runs, and its messages to the command.

`python -m callkeeper_assets.worker SOURCE …`; `messages` are its lines to the command line.
"""
