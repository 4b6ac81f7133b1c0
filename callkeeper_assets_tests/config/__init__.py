"""Tests of the sources' configuration."""
