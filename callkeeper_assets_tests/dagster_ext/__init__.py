"""Tests of what is used of Dagster's private parts."""
