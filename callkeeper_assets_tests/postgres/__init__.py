"""Tests of `callkeeper_assets.postgres`."""
