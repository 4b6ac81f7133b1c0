"""Dagster runs: started from the command line, kept known to be alive, buried when they are dead.

Add here what concerns a run as a whole; what a run's steps do belongs into `assets`.
"""
