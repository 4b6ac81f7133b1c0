"""Tests of `callkeeper_assets.calls`."""
