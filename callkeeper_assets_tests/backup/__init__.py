"""Backups: a machine that is lost, kills in the middle, damage, and versions."""
