"""The `callkeeper` command: its commands by subject, and what they share.

A command's module is imported by `main` each time anything is typed: it holds the options and
imports what it needs when it runs. What takes long (Dagster, Arrow, pandas) runs in processes that
the command starts. What a command does belongs into the other packages; here are words and tables.
"""
