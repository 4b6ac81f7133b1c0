"""Tests of `callkeeper_assets.assets`."""
