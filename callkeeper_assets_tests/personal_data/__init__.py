"""Tests of `callkeeper_assets.personal_data`, against a real PostgreSQL and real files."""
