"""Tests of `callkeeper_assets.privacy`."""
