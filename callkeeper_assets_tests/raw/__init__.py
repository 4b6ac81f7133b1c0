"""Tests of `callkeeper_assets.raw`."""
