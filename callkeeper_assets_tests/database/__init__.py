"""Tests of `callkeeper_assets.database`."""
