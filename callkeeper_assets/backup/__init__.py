"""Backups of an installation: made while it runs, verified, and restored into an empty one.

A backup is a folder of its own beside others in one place, a folder or an object store: the
database as it was at one moment, the spool, the project's files. Raw calls lie once for all backups
of the place, under the hashes of their contents. A backup is one from the moment when its document
is written, which is last; nothing that an earlier one needs is ever changed.
"""
