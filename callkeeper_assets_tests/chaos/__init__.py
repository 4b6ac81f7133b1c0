"""Kills and faults: whatever happens to a load, the next one makes it right."""
