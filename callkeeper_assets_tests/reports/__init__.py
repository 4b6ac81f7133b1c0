"""Tests of custom reports: paths, values, rows, tables."""
