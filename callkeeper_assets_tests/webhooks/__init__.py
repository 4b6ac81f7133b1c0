"""Tests of the webhook receiver, on the real server as a process and a real PostgreSQL."""
