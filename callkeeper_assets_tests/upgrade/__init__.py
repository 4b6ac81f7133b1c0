"""Installations made by older versions, and what this one makes of them."""
