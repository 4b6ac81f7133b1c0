"""Tests of what reads for analysts."""
