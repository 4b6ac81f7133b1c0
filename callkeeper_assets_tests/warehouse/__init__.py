"""Tests of the warehouse, against a real PostgreSQL."""
