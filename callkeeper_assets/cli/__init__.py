"""The `callkeeper` command: one module a command, and what they share.

A command's module is imported by `main` each time anything is typed: it holds the options and
imports what it needs when it runs. What takes long (Dagster, Arrow, pandas) runs in processes that
the command starts. What a command does belongs into the other rooms; here are words and tables.
"""
