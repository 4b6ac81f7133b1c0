"""Tests of `callkeeper_assets.runs`."""
