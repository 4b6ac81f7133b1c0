"""Tests of `callkeeper_assets.worker`."""
